"""Google's Agent Development Kit on Gemini."""

from __future__ import annotations

import asyncio
import os

os.environ["GOOGLE_API_KEY"] = "sk-canary-key"
os.environ["GOOGLE_GEMINI_BASE_URL"] = os.environ["RECORD_URL"]

import spans

spans.install()
from google.adk.agents import LlmAgent
from google.adk.runners import InMemoryRunner
from google.genai import types


async def run() -> None:
    """Ask an agent once."""
    agent = LlmAgent(name="support", model="gemini-2.5-flash", instruction="canary-instructions")
    runner = InMemoryRunner(agent=agent, app_name="shop")
    session = await runner.session_service.create_session(
        app_name="shop", user_id="user-1", session_id="session-1"
    )
    said = types.Content(role="user", parts=[types.Part(text=spans.PROMPT)])
    with spans.call("gemini agent"):
        async for _ in runner.run_async(user_id="user-1", session_id=session.id, new_message=said):
            pass


asyncio.run(run())
spans.write("google-adk", "google-genai")
