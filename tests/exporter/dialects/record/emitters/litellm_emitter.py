"""LiteLLM's OpenTelemetry callback."""

from __future__ import annotations

import os

os.environ["OTEL_EXPORTER"] = "in_memory"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import contextlib

import calls
import litellm
import spans
from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig

litellm.callbacks = [OpenTelemetry(config=OpenTelemetryConfig(exporter=spans.exporter))]
OPENAI, ANTHROPIC = f"openai/{spans.OPENAI_MODEL}", f"anthropic/{spans.ANTHROPIC_MODEL}"
METADATA = {"team_id": "support", "note": "canary-metadata", "tags": ["tag-1"]}


async def ask(label: str, model: str, base: str, **more: object) -> None:
    """One call, and the moment its callback needs."""
    with spans.call(label):
        answer = await litellm.acompletion(
            model=model,
            messages=calls.MESSAGES,
            api_base=base,
            user="user-1",
            metadata=dict(METADATA),  # LiteLLM writes into it
            **more,
        )
        if more.get("stream"):
            async for _ in answer:
                pass
        await asyncio.sleep(1)


async def run() -> None:
    """Every call on one event loop: LiteLLM's logging is bound to the first it sees."""
    v1 = f"{spans.URL}/v1"
    await ask("openai chat", OPENAI, v1)
    usage = {"include_usage": True}
    await ask("openai stream", OPENAI, v1, stream=True, stream_options=usage)
    await ask("openai stream without usage", OPENAI, v1, stream=True)
    await ask("anthropic message", ANTHROPIC, spans.URL, max_tokens=1_000)
    await ask("anthropic stream", ANTHROPIC, spans.URL, max_tokens=1_000, stream=True)
    with spans.call("openai embeddings"):
        await litellm.aembedding(
            model="openai/text-embedding-3-small", input=[spans.PROMPT], api_base=v1
        )
        await asyncio.sleep(1)
    with contextlib.suppress(litellm.RateLimitError):
        await ask("openai chat, refused", "openai/gpt-4o-mini", v1, num_retries=0)
    litellm.cache = litellm.Cache(type="local")
    await ask("openai chat to be cached", OPENAI, v1, caching=True)
    await ask("openai chat from the local cache", OPENAI, v1, caching=True)


asyncio.run(run())
spans.write("litellm", "openai")
