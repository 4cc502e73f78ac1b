"""The calls most emitters are recorded with, one label each."""

from __future__ import annotations

import contextlib

import spans

MESSAGES = [{"role": "user", "content": spans.PROMPT}]


def openai_calls(*, streams: bool = True, responses: bool = True) -> None:
    """Chat, a stream with usage and one without, responses, embeddings."""
    import openai

    client = openai.OpenAI(max_retries=0)
    asked = {"model": spans.OPENAI_MODEL, "messages": MESSAGES}
    with spans.call("openai chat"):
        client.chat.completions.create(**asked, user="user-1")
    if streams:
        with spans.call("openai stream"):
            options = {"include_usage": True}
            list(client.chat.completions.create(**asked, stream=True, stream_options=options))
        with spans.call("openai stream without usage"):
            list(client.chat.completions.create(**asked, stream=True))
    if responses:
        with spans.call("openai responses"):
            client.responses.create(model=spans.OPENAI_MODEL, input=spans.PROMPT)
    with spans.call("openai embeddings"):
        client.embeddings.create(model="text-embedding-3-small", input=spans.PROMPT)
    with spans.call("openai chat, refused"), contextlib.suppress(openai.RateLimitError):
        client.chat.completions.create(**{**asked, "model": "gpt-4o-mini"})


def anthropic_calls(prefix: str = "", *, streams: bool = True) -> None:
    """A message, and one that is streamed."""
    import anthropic

    client = anthropic.Anthropic(max_retries=0)
    asked = {"model": spans.ANTHROPIC_MODEL, "messages": MESSAGES, "max_tokens": 1_000}
    with spans.call(f"{prefix}anthropic message"):
        client.messages.create(**asked, metadata={"user_id": "user-1"})
    if streams:
        with spans.call(f"{prefix}anthropic stream"):
            list(client.messages.create(**asked, stream=True))


def bedrock_call() -> None:
    """Claude through Bedrock's Converse API."""
    import boto3

    client = boto3.client("bedrock-runtime", endpoint_url=spans.URL)
    with spans.call("bedrock converse"):
        client.converse(
            modelId="anthropic.claude-sonnet-4-5-20250929-v1:0",
            messages=[{"role": "user", "content": [{"text": spans.PROMPT}]}],
        )


def gemini_call() -> None:
    """Gemini by google-genai."""
    from google import genai

    client = genai.Client(api_key="sk-canary-key", http_options={"base_url": spans.URL})
    with spans.call("gemini generate"):
        client.models.generate_content(model="gemini-2.5-flash", contents=spans.PROMPT)


def mistral_call() -> None:
    """Mistral's own client."""
    try:
        from mistralai import Mistral
    except ImportError:
        from mistralai.client import Mistral

    client = Mistral(api_key="sk-canary-key", server_url=f"{spans.URL}/mistral")
    with spans.call("mistral chat"):
        client.chat.complete(model="mistral-large-latest", messages=MESSAGES)


def cohere_call() -> None:
    """Cohere's own client, second API version."""
    import cohere

    client = cohere.ClientV2(api_key="sk-canary-key", base_url=f"{spans.URL}/cohere")
    with spans.call("cohere chat"):
        client.chat(model="command-a-03-2025", messages=MESSAGES)
