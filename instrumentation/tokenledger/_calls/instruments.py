"""OpenTelemetry's GenAI client metrics as instruments: the published version, and the newest one.

Source: open-telemetry/semantic-conventions-genai, `docs/gen-ai/gen-ai-metrics.md` of 1.41,
`client-inference.md`, `client-embeddings.md` and `gen-ai-token-metrics.md`, checked 2026-11-28.

Only counts that the provider reported are measurements. An estimate is none: the conventions allow
a count that was made locally only if the user asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tokenledger_semconv import attributes as names
from tokenledger_semconv import genai_metrics as metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import Histogram
    from opentelemetry.metrics import Meter as OtelMeter
    from opentelemetry.util.types import AttributeValue

_DIMENSIONS: Final = (
    names.OPERATION_NAME,
    names.PROVIDER_NAME,
    names.REQUEST_MODEL,
    names.RESPONSE_MODEL,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
)
_EMBEDDINGS: Final = "embeddings"
# Any other operation is an inference.
_OTHER_OPERATIONS: Final = frozenset({_EMBEDDINGS, "moderation"})
_UNKNOWN: Final = "unknown"


class Instruments(Protocol):
    """One version of the metrics."""

    def add_call(
        self, attributes: Mapping[str, AttributeValue], seconds: float, *, failed: bool
    ) -> None:
        """Report a call that ended.

        Args:
            attributes: all attributes of its span.
            seconds: how long it took.
            failed: whether it failed.
        """
        ...

    def add_gaps(self, attributes: Mapping[str, AttributeValue], gaps: Iterable[float]) -> None:
        """Report the seconds between the chunks of a stream.

        Args:
            attributes: all attributes of its span that are known.
            gaps: the seconds.
        """
        ...


class PublishedInstruments:
    """The metrics of semantic-conventions 1.41, the last published version."""

    def __init__(self, meter: OtelMeter) -> None:
        self._tokens = _tokens(meter, metrics.TOKENS_OF_CALL, "Tokens used by GenAI calls.")
        self._duration = _seconds(meter, metrics.OPERATION_DURATION, _DURATION)
        self._first_chunk = _seconds(meter, metrics.OPERATION_TIME_TO_FIRST_CHUNK, _FIRST_CHUNK)
        self._gaps = _seconds(meter, metrics.OPERATION_TIME_PER_OUTPUT_CHUNK, _GAP)

    def add_call(
        self, attributes: Mapping[str, AttributeValue], seconds: float, *, failed: bool
    ) -> None:
        """Report a call that ended."""
        dimensions = _dimensions(attributes)
        self._duration.record(seconds, _with_error(dimensions, attributes, failed=failed))
        if (first_chunk := _number(attributes, names.TIME_TO_FIRST_CHUNK)) is not None:
            self._first_chunk.record(first_chunk, dimensions)
        for kind, name in (("input", names.INPUT_TOKENS), ("output", names.OUTPUT_TOKENS)):
            if (count := _count(attributes, name)) is not None:
                self._tokens.record(count, {**dimensions, metrics.TOKENS_TYPE: kind})

    def add_gaps(self, attributes: Mapping[str, AttributeValue], gaps: Iterable[float]) -> None:
        """Report the seconds between the chunks of a stream."""
        dimensions = _dimensions(attributes)
        for gap in gaps:
            self._gaps.record(gap, dimensions)


class LatestInstruments:
    """The metrics of the newest conventions, which have no release yet."""

    def __init__(self, meter: OtelMeter) -> None:
        self._duration = _seconds(meter, metrics.INFERENCE_DURATION, _DURATION)
        self._embeddings = _seconds(meter, metrics.EMBEDDINGS_DURATION, _DURATION)
        self._other = _seconds(meter, metrics.OPERATION_DURATION, _DURATION)
        self._first_chunk = _seconds(meter, metrics.INFERENCE_TIME_TO_FIRST_CHUNK, _FIRST_CHUNK)
        self._gaps = _seconds(meter, metrics.INFERENCE_TIME_PER_OUTPUT_CHUNK, _GAP)
        self._input = _tokens(meter, metrics.INFERENCE_INPUT_TOKENS, "Input tokens of a call.")
        self._output = _tokens(meter, metrics.INFERENCE_OUTPUT_TOKENS, "Output tokens of a call.")
        self._embedded = _tokens(meter, metrics.EMBEDDINGS_INPUT_TOKENS, "Input tokens of a call.")
        self._counters = tuple(
            (meter.create_counter(metric, "{token}", description), whole, modalities)
            for metric, description, whole, modalities in _COUNTERS
        )

    def add_call(
        self, attributes: Mapping[str, AttributeValue], seconds: float, *, failed: bool
    ) -> None:
        """Report a call that ended."""
        dimensions = _dimensions(attributes)
        with_error = _with_error(dimensions, attributes, failed=failed)
        operation = attributes.get(names.OPERATION_NAME)
        if operation in _OTHER_OPERATIONS:
            is_embedding = operation == _EMBEDDINGS
            (self._embeddings if is_embedding else self._other).record(seconds, with_error)
            count = _count(attributes, names.INPUT_TOKENS)
            if is_embedding and count is not None and not failed:
                self._embedded.record(count, dimensions)
            return
        self._duration.record(seconds, with_error)
        if (first_chunk := _number(attributes, names.TIME_TO_FIRST_CHUNK)) is not None:
            self._first_chunk.record(first_chunk, dimensions)
        for counter, whole, modalities in self._counters:
            for modality, count in _by_modality(attributes, whole, modalities):
                counter.add(count, {**dimensions, metrics.TOKENS_MODALITY: modality})
        if not failed:
            for histogram, name in (
                (self._input, names.INPUT_TOKENS),
                (self._output, names.OUTPUT_TOKENS),
            ):
                if (count := _count(attributes, name)) is not None:
                    histogram.record(count, dimensions)

    def add_gaps(self, attributes: Mapping[str, AttributeValue], gaps: Iterable[float]) -> None:
        """Report the seconds between the chunks of a stream."""
        dimensions = _dimensions(attributes)
        for gap in gaps:
            self._gaps.record(gap, dimensions)


_DURATION: Final = "Duration of a GenAI call."
_FIRST_CHUNK: Final = "Time from the request to the first chunk of a stream."
_GAP: Final = "Time between two chunks of a stream."
_COUNTERS: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    (
        metrics.USAGE_INPUT_TOKENS,
        "Input tokens, including cached tokens.",
        names.INPUT_TOKENS,
        {"audio": names.AUDIO_INPUT_TOKENS, "image": names.IMAGE_INPUT_TOKENS},
    ),
    (
        metrics.USAGE_OUTPUT_TOKENS,
        "Output tokens, including reasoning tokens.",
        names.OUTPUT_TOKENS,
        {"audio": names.AUDIO_OUTPUT_TOKENS, "image": names.IMAGE_OUTPUT_TOKENS},
    ),
    (
        metrics.USAGE_CACHE_READ_TOKENS,
        "Input tokens read from a cache.",
        names.CACHE_READ_TOKENS,
        {"audio": names.CACHED_AUDIO_TOKENS, "image": names.CACHED_IMAGE_TOKENS},
    ),
    (
        metrics.USAGE_CACHE_WRITE_TOKENS,
        "Input tokens written to a cache.",
        names.CACHE_WRITE_TOKENS,
        {},
    ),
    (
        metrics.USAGE_REASONING_TOKENS,
        "Output tokens used for reasoning.",
        names.REASONING_TOKENS,
        {},
    ),
)
# These are reported for every inference, also if the provider reported no usage.
_ALWAYS_COUNTED: Final = frozenset({names.INPUT_TOKENS, names.OUTPUT_TOKENS})


def _dimensions(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {name: attributes[name] for name in _DIMENSIONS if name in attributes}


def _with_error(
    dimensions: dict[str, AttributeValue],
    attributes: Mapping[str, AttributeValue],
    *,
    failed: bool,
) -> dict[str, AttributeValue]:
    if not failed:
        return dimensions
    return {**dimensions, names.ERROR_TYPE: attributes.get(names.ERROR_TYPE, "_OTHER")}


def _number(attributes: Mapping[str, AttributeValue], name: str) -> float | None:
    value = attributes.get(name)
    return value if isinstance(value, (int, float)) else None


def _count(attributes: Mapping[str, AttributeValue], name: str) -> int | None:
    """A count that the provider reported; `None` if it reported none, or if it is negative."""
    value = attributes.get(name)
    if attributes.get(names.USAGE_ESTIMATED) or not isinstance(value, int) or value < 0:
        return None
    return value


def _by_modality(
    attributes: Mapping[str, AttributeValue], whole: str, modalities: Mapping[str, str]
) -> list[tuple[str, int]]:
    """A count, split by modality if the provider split it."""
    count = _count(attributes, whole)
    if count is None:
        return [(_UNKNOWN, 0)] if whole in _ALWAYS_COUNTED else []
    parts = {
        modality: part
        for modality, name in modalities.items()
        if (part := _count(attributes, name)) is not None
    }
    text = count - sum(parts.values())
    if not parts or text < 0:
        return [(_UNKNOWN, count)]
    return [(modality, part) for modality, part in (("text", text), *parts.items()) if part]


def _seconds(meter: OtelMeter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name,
        "s",
        description,
        explicit_bucket_boundaries_advisory=metrics.SECONDS_BUCKETS,
    )


def _tokens(meter: OtelMeter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name,
        "{token}",
        description,
        explicit_bucket_boundaries_advisory=metrics.TOKENS_BUCKETS,
    )
