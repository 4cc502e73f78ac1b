"""OpenTelemetry's genai-openai, genai-anthropic and genai-bedrock, and the anthropic SDK itself."""

from __future__ import annotations

import os

os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"

import calls
import spans
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.genai.bedrock import BedrockInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

spans.install()
calls.anthropic_calls("sdk ")
OpenAIInstrumentor().instrument()
AnthropicInstrumentor().instrument()
calls.openai_calls()
os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"
calls.anthropic_calls()
BedrockInstrumentor().instrument()
calls.bedrock_call()
spans.write(
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-genai-anthropic",
    "opentelemetry-instrumentation-genai-bedrock",
    *("openai", "anthropic", "boto3", "opentelemetry-sdk"),
)
