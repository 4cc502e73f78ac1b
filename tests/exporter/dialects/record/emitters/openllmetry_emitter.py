"""OpenLLMetry: its openai, anthropic, bedrock, gemini, mistral and cohere packages."""

from __future__ import annotations

import os
from importlib import import_module

os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"

import calls
import spans

spans.install()
INSTRUMENTORS = {
    "openai": "OpenAIInstrumentor",
    "anthropic": "AnthropicInstrumentor",
    "bedrock": "BedrockInstrumentor",
    "google_generativeai": "GoogleGenerativeAiInstrumentor",
    "mistralai": "MistralAiInstrumentor",
    "cohere": "CohereInstrumentor",
}
for package, name in INSTRUMENTORS.items():
    module = import_module(f"opentelemetry.instrumentation.{package}")
    getattr(module, name)().instrument(skip_dep_check=True)
calls.openai_calls()
calls.anthropic_calls()
for one in (calls.bedrock_call, calls.gemini_call, calls.mistral_call, calls.cohere_call):
    one()
spans.write(
    *(f"opentelemetry-instrumentation-{name.replace('_', '-')}" for name in INSTRUMENTORS),
    *("openai", "anthropic", "boto3", "google-genai", "mistralai", "cohere"),
)
