"""Langfuse: its openai wrapper, and a generation and a span made by hand."""

from __future__ import annotations

import os

os.environ["LANGFUSE_PUBLIC_KEY"] = "pk-lf-canary"
os.environ["LANGFUSE_SECRET_KEY"] = "sk-canary-key"
os.environ["LANGFUSE_BASE_URL"] = os.environ["LANGFUSE_HOST"] = os.environ["RECORD_URL"]

import calls
import spans
from langfuse import Langfuse, observe, propagate_attributes
from langfuse.openai import openai

provider = spans.install(globally=False)
langfuse = Langfuse(tracer_provider=provider)
client = openai.OpenAI(max_retries=0)
asked = {"model": spans.OPENAI_MODEL, "messages": calls.MESSAGES}


@observe()
def ask() -> None:
    """A traced function around a call."""
    client.chat.completions.create(**asked)


with propagate_attributes(
    user_id="user-1", session_id="session-1", metadata={"plan": "gold"}, tags=["tag-1"]
):
    with spans.call("openai chat"):
        client.chat.completions.create(**asked, name="answer")
    with spans.call("openai chat below an observed function"):
        ask()
    with spans.call("openai stream"):
        list(
            client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        )
    with spans.call("openai stream without usage"):
        list(client.chat.completions.create(**asked, stream=True))
    with spans.call("openai responses"):
        client.responses.create(model=spans.OPENAI_MODEL, input=spans.PROMPT)
    with spans.call("openai embeddings"):
        client.embeddings.create(model="text-embedding-3-small", input=spans.PROMPT)
    with spans.call("a generation made by hand"):
        generation = langfuse.start_observation(
            as_type="generation",
            name="claude",
            model=spans.ANTHROPIC_MODEL,
            input=spans.PROMPT,
            output="canary-answer",
            usage_details={
                "input": 100,
                "output": 200,
                "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 300,
            },
        )
        generation.end()
spans.write("langfuse", "openai")
