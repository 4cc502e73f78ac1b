"""OpenTelemetry's openai-v2: old names, and today's where `openai_v2_opted_in_emitter` asks."""

from __future__ import annotations

import os

if os.environ.get("RECORD_OPT_IN"):
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = (
    "SPAN_ONLY" if os.environ.get("RECORD_OPT_IN") else "true"
)

import calls
import spans
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

spans.install()
OpenAIInstrumentor().instrument()
calls.openai_calls()
spans.write("opentelemetry-instrumentation-openai-v2", "openai", "opentelemetry-util-genai")
