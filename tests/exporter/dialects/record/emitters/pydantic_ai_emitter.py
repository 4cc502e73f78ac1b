"""Pydantic AI: an agent's run, its model calls and a tool."""

from __future__ import annotations

import os

os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"

import spans
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel

provider = spans.install()
Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
for label, model in (
    ("openai agent", OpenAIChatModel(spans.OPENAI_MODEL)),
    ("anthropic agent", AnthropicModel(spans.ANTHROPIC_MODEL)),
):
    with spans.call(label):
        Agent(model, name="support").run_sync(spans.PROMPT)
with spans.call("openai agent stream"):
    import asyncio

    async def stream() -> None:
        """Run the agent and read its answer as a stream."""
        agent = Agent(OpenAIChatModel(spans.OPENAI_MODEL), name="support")
        async with agent.run_stream(spans.PROMPT) as result:
            async for _ in result.stream_text():
                pass

    asyncio.run(stream())
spans.write("pydantic-ai-slim", "openai", "anthropic")
