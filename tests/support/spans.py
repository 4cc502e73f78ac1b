"""An app's own tracing in memory, and what its spans say in plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler


class AppTracing:
    """An app's own tracing; its exporter stands for the app's backend."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The exported spans of our scopes."""
        return tuple(
            span
            for span in self.exporter.get_finished_spans()
            if span.instrumentation_scope is not None
            and span.instrumentation_scope.name.startswith("tokenledger.")
        )


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes as a plain dict."""
    return dict(cast("dict[str, Any]", span.attributes or {}))


def token_counts(attributes: dict[str, Any]) -> dict[str, Any]:
    """The token counts of a span, by the ends of their names."""
    return {
        name.removeprefix("gen_ai.usage."): value
        for name, value in attributes.items()
        if name.startswith("gen_ai.usage.")
    }


def token_vector(attributes: Mapping[str, Any]) -> TokenVector:
    """The counts among a span's attributes, as the ledger reads them."""
    return TokenVector(
        **{name: attributes.get(attribute) for name, attribute in _COUNTS.items()},
    )


_COUNTS = {
    "input_tokens": names.INPUT_TOKENS,
    "output_tokens": names.OUTPUT_TOKENS,
    "cached_tokens": names.CACHE_READ_TOKENS,
    "cache_write_tokens": names.CACHE_WRITE_TOKENS,
    "cache_write_1h_tokens": names.CACHE_WRITE_1H_TOKENS,
    "reasoning_tokens": names.REASONING_TOKENS,
    "audio_input_tokens": names.AUDIO_INPUT_TOKENS,
    "audio_output_tokens": names.AUDIO_OUTPUT_TOKENS,
    "cached_audio_tokens": names.CACHED_AUDIO_TOKENS,
    "image_input_tokens": names.IMAGE_INPUT_TOKENS,
    "image_output_tokens": names.IMAGE_OUTPUT_TOKENS,
    "cached_image_tokens": names.CACHED_IMAGE_TOKENS,
    "web_search_requests": names.WEB_SEARCH_REQUESTS,
    "file_search_requests": names.FILE_SEARCH_REQUESTS,
    "code_execution_requests": names.CODE_EXECUTION_REQUESTS,
    "audio_seconds": names.AUDIO_SECONDS,
    "input_characters": names.INPUT_CHARACTERS,
    "images": names.IMAGES,
}
