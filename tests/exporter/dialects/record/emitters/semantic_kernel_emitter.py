"""Semantic Kernel."""

from __future__ import annotations

import asyncio
import os

os.environ["SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS"] = "true"
os.environ["SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS_SENSITIVE"] = "true"

import openai
import spans

spans.install()
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatHistory


async def run() -> None:
    """Ask once, and once as a stream."""
    service = OpenAIChatCompletion(
        ai_model_id=spans.OPENAI_MODEL, async_client=openai.AsyncOpenAI(max_retries=0)
    )
    history = ChatHistory()
    history.add_user_message(spans.PROMPT)
    settings = OpenAIChatPromptExecutionSettings()
    with spans.call("openai chat"):
        await service.get_chat_message_contents(history, settings)
    with spans.call("openai stream"):
        async for _ in service.get_streaming_chat_message_contents(history, settings):
            pass


asyncio.run(run())
spans.write("semantic-kernel", "openai")
