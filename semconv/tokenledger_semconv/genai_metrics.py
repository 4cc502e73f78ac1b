"""Names of the GenAI client metrics, and the boundaries of their buckets.

Two sets. `gen_ai.client.token.usage` and `gen_ai.client.operation.*` are the last published ones
(semantic-conventions 1.41), which dashboards and other instrumentations use. The conventions'
repository has since renamed them (open-telemetry/semantic-conventions-genai, no release yet):
`docs/gen-ai/client-inference.md`, `client-embeddings.md` and `gen-ai-token-metrics.md`. An app
chooses the new ones as for any other instrumentation. Checked 2026-11-28.
"""

from __future__ import annotations

from typing import Final

STABILITY_OPT_IN_VARIABLE: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""OpenTelemetry's list of opt-ins, separated by commas."""

LATEST: Final = "gen_ai_latest_experimental"
"""The opt-in to the newest GenAI conventions."""

TOKENS_OF_CALL: Final = "gen_ai.client.token.usage"
"""Histogram, {token}: input and output tokens of a call, by `gen_ai.token.type`."""

OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
"""Histogram, s: how long a call took, to the end of its stream."""

OPERATION_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
"""Histogram, s: the time from the request to the first chunk of a stream."""

OPERATION_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
"""Histogram, s: the time between two chunks of a stream, for every chunk after the first."""

INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
"""Histogram, s: replaces `gen_ai.client.operation.duration` for calls that generate."""

INFERENCE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
"""Histogram, s: replaces `gen_ai.client.operation.time_to_first_chunk`."""

INFERENCE_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
"""Histogram, s: replaces `gen_ai.client.operation.time_per_output_chunk`."""

INFERENCE_INPUT_TOKENS: Final = "gen_ai.client.inference.operation.input_tokens"
"""Histogram, {token}: input tokens of a call; a failed call has none."""

INFERENCE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.operation.output_tokens"
"""Histogram, {token}: output tokens of a call; a failed call has none."""

USAGE_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
"""Counter, {token}: input tokens by `gen_ai.token.modality`, cached ones included."""

USAGE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
"""Counter, {token}: output tokens by `gen_ai.token.modality`, reasoning included."""

USAGE_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
"""Counter, {token}: the part of the input that was read from a cache."""

USAGE_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
"""Counter, {token}: the part of the input that was written to a cache."""

USAGE_REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
"""Counter, {token}: the part of the output that is reasoning."""

EMBEDDINGS_DURATION: Final = "gen_ai.client.embeddings.duration"
"""Histogram, s: replaces `gen_ai.client.operation.duration` for embeddings."""

EMBEDDINGS_INPUT_TOKENS: Final = "gen_ai.client.embeddings.operation.input_tokens"
"""Histogram, {token}: input tokens of an embeddings call."""

TOKENS_TYPE: Final = "gen_ai.token.type"
TOKENS_MODALITY: Final = "gen_ai.token.modality"

SECONDS_BUCKETS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""Boundaries for every histogram in seconds."""

TOKENS_BUCKETS: Final = tuple(4**power for power in range(14))
"""Boundaries for every histogram in tokens: 1, 4, 16 ... 67,108,864."""
