"""OpenInference: its openai, anthropic, bedrock, google-genai and mistralai packages."""

from __future__ import annotations

import os
from importlib import import_module

os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"

import calls
import spans
from openinference.instrumentation import using_attributes

spans.install()
INSTRUMENTORS = {
    "openai": "OpenAIInstrumentor",
    "anthropic": "AnthropicInstrumentor",
    "bedrock": "BedrockInstrumentor",
    "google_genai": "GoogleGenAIInstrumentor",
    "mistralai": "MistralAIInstrumentor",
}
for package, name in INSTRUMENTORS.items():
    module = import_module(f"openinference.instrumentation.{package}")
    getattr(module, name)().instrument(skip_dep_check=True)
with using_attributes(
    session_id="session-1",
    user_id="user-1",
    metadata={"team": "support", "note": "canary-metadata"},
    tags=["tag-1"],
):
    calls.openai_calls()
    calls.anthropic_calls()
    for one in (calls.bedrock_call, calls.gemini_call, calls.mistral_call):
        one()
spans.write(
    *(f"openinference-instrumentation-{name.replace('_', '-')}" for name in INSTRUMENTORS),
    *("openai", "anthropic", "boto3", "google-genai", "mistralai"),
)
