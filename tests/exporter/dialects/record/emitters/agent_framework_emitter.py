"""Microsoft Agent Framework."""

from __future__ import annotations

import asyncio
import os

os.environ["ENABLE_INSTRUMENTATION"] = "true"
os.environ["ENABLE_SENSITIVE_DATA"] = "true"

import spans

spans.install()
from agent_framework.observability import enable_instrumentation
from agent_framework.openai import OpenAIChatClient

try:
    from agent_framework.openai import OpenAIChatCompletionClient
except ImportError:
    OpenAIChatCompletionClient = OpenAIChatClient

enable_instrumentation(enable_sensitive_data=True)


async def run() -> None:
    """Ask an agent once by each of OpenAI's APIs."""
    for label, kind in (
        ("openai agent", OpenAIChatCompletionClient),
        ("openai agent by responses", OpenAIChatClient),
    ):
        with spans.call(label):
            client = kind(model=spans.OPENAI_MODEL)
            agent = client.as_agent(name="support", instructions="canary-instructions")
            await agent.run(spans.PROMPT)


asyncio.run(run())
spans.write("agent-framework-core", "openai")
