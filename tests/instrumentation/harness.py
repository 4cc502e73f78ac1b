"""What the tests of this room share: a ledger in memory and an app's tracing in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from support.ledger_rows import HEADER, package_book
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.rating.live_price import price_of
from tokenledger_exporter.recorder.drainer import package_prices
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.spool.codec import FORMAT_VERSION, decode_record
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import TracerProvider as AnyTracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_semconv.settings import Settings


class _OnlyOurs(SpanProcessor):
    """Keeps the spans of our scopes, as the ledger's processor drops an SDK's own under ours."""

    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        scope = span.instrumentation_scope
        if scope is not None and scope.name.startswith("tokenledger."):
            self._spans.append(span)


class MemoryLedger:
    """A ledger behind the seam: one entry for each span that reaches it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spans: list[ReadableSpan] = []
        self.attached: list[AnyTracerProvider] = []
        self.shutdowns = 0
        self._provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(_OnlyOurs(self.spans))

    @property
    def tracer_provider(self) -> TracerProvider:
        return self._provider

    def attach(self, provider: AnyTracerProvider) -> bool:
        if not isinstance(provider, TracerProvider):
            return False
        if not any(provider is known for known in self.attached):
            self.attached.append(provider)
            provider.add_span_processor(_OnlyOurs(self.spans))
        return True

    def flush(self, timeout: float) -> int:
        del timeout
        return len(self.spans)

    def price(
        self, attributes: Mapping[str, AttributeValue], start_ns: int, *, failed: bool
    ) -> Decimal | None:
        return price_of(
            attributes,
            start_ns,
            failed=failed,
            header=SpoolHeader(format_version=FORMAT_VERSION, ledger=""),
            prices_of=lambda _provider: package_prices(),
        )

    def health(self) -> dict[str, object]:
        return {"waiting": 0}

    def shutdown(self, timeout: float) -> None:
        del timeout
        self.shutdowns += 1

    def only(self) -> dict[str, Any]:
        """The attributes of the one span there is."""
        assert len(self.spans) == 1, [span.name for span in self.spans]
        return attributes(self.spans[0])


class AppTracing:
    """An app's own tracing, with what its backend would get."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """What was exported of our scopes."""
        return tuple(
            span
            for span in self.exporter.get_finished_spans()
            if span.instrumentation_scope is not None
            and span.instrumentation_scope.name.startswith("tokenledger.")
        )


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes as a plain dict."""
    return dict(cast("dict[str, Any]", span.attributes or {}))


def counts(span: dict[str, Any]) -> dict[str, Any]:
    """The token counts of a span, by the last words of their names."""
    return {
        name.removeprefix("gen_ai.usage."): value
        for name, value in span.items()
        if name.startswith("gen_ai.usage.")
    }


def vector(span: Mapping[str, Any]) -> TokenVector:
    """The counts among a span's attributes, as the ledger reads them."""
    return TokenVector(
        **{name: span.get(attribute) for name, attribute in _COUNTS.items()},
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


def row_of(span: ReadableSpan) -> LedgerRow:
    """The one row a span becomes, by the installed price list."""
    [row] = rows_of(span)
    return row


def rows_of(span: ReadableSpan) -> list[LedgerRow]:
    """The rows a span becomes, by the installed price list."""
    return build_rows(decode_record(encode_span(span)), HEADER, package_book)
