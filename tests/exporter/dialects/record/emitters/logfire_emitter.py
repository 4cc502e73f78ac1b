"""Logfire: its openai and anthropic instrumentation."""

from __future__ import annotations

import calls
import logfire
import openai
import spans
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

logfire.configure(
    send_to_logfire=False,
    console=False,
    additional_span_processors=[SimpleSpanProcessor(spans.exporter)],
)
logfire.instrument_openai()
logfire.instrument_anthropic()
calls.openai_calls()
calls.anthropic_calls()
client = openai.OpenAI(max_retries=0)
asked = {"model": spans.OPENAI_MODEL, "messages": calls.MESSAGES, "stream": True}
with spans.call("openai stream never read"):
    client.chat.completions.create(**asked).close()
with spans.call("openai stream closed early"):
    stream = client.chat.completions.create(**asked)
    next(iter(stream))
    stream.close()
spans.write("logfire", "openai", "anthropic")
