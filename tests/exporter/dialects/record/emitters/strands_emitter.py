"""Strands Agents on OpenAI and on Anthropic."""

from __future__ import annotations

import os

os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"

import spans
from strands import Agent
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel

spans.install()
TOLD = {"session.id": "session-1", "user.id": "user-1", "tags": ["tag-1"]}
for label, model in (
    ("openai agent", OpenAIModel(model_id=spans.OPENAI_MODEL)),
    ("anthropic agent", AnthropicModel(model_id=spans.ANTHROPIC_MODEL, max_tokens=1_000)),
):
    with spans.call(label):
        Agent(model=model, name="support", callback_handler=None, trace_attributes=TOLD)(
            spans.PROMPT
        )
spans.write("strands-agents", "openai", "anthropic")
