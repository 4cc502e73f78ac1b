"""What an answer said is put on a span at once, and the span is as the SDK would have made it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from tokenledger import _otel_internals
from tokenledger._otel_internals import set_attributes as put

if TYPE_CHECKING:
    from tokenledger._usage.fields import Attributes

FOUND: Attributes = {
    "model": "gpt-4o",
    "tokens": 12,
    "share": 0.5,
    "reasons": ("stop",),
    "first": True,
}


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No class of spans was seen before."""
    monkeypatch.setattr(_otel_internals, "_CHECKED", {})


def _span(**limits: int) -> Any:  # noqa: ANN401 - the SDK's own span, with what it keeps inside
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("chat", attributes={"start": "s"})


def _asked(span: object, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a span's own class is asked to set from here on."""
    asked: list[object] = []
    original = Span.set_attributes

    def set_attributes(self: Span, attributes: Any) -> None:  # noqa: ANN401
        asked.append(attributes)
        original(self, attributes)

    monkeypatch.setattr(type(span), "set_attributes", set_attributes, raising=False)
    return asked


@pytest.mark.parametrize("limits", [{}, {"max_span_attributes": 3}, {"max_attribute_length": 2}])
def test_a_span_is_the_same_as_if_it_had_been_asked(limits: dict[str, int]) -> None:
    for _ in range(3):
        ours, asked = _span(**limits), _span(**limits)
        put(ours, FOUND)
        asked.set_attributes(FOUND)
        assert dict(ours.attributes) == dict(asked.attributes)
        assert ours.dropped_attributes == asked.dropped_attributes


def test_the_second_span_of_a_class_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    put(_span(), FOUND)
    span = _span()
    lock = span._attributes._lock  # noqa: SLF001 - held here, so that asking would wait for ever
    with lock:
        put(span, FOUND)
    assert span.attributes == {"start": "s", **FOUND}
    assert not _asked(span, monkeypatch)


def test_a_method_that_somebody_exchanged_since_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    put(_span(), FOUND)
    span = _span()
    asked = _asked(span, monkeypatch)
    put(span, FOUND)
    put(_span(), FOUND)
    assert asked == [FOUND, FOUND]


def test_a_method_that_was_exchanged_before_is_asked_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    span = _span()
    asked = _asked(span, monkeypatch)
    for _ in range(2):
        put(span, FOUND)
    assert asked == [FOUND, FOUND]


def test_an_ended_span_stays_as_it_was() -> None:
    put(_span(), FOUND)
    span = _span()
    span.end()
    put(span, FOUND)
    assert span.attributes == {"start": "s"}


class _Other:
    """A span of another maker."""

    def __init__(self) -> None:
        self.told: dict[str, object] = {}

    def set_attributes(self, told: dict[str, object]) -> None:
        """Keep them somewhere else."""
        self.told.update(told)


def test_a_span_of_another_maker_is_asked() -> None:
    span = _Other()
    for number in range(2):
        put(span, {"number": number})
    assert span.told == {"number": 1}
    put(INVALID_SPAN, FOUND)


class _Newer(_Other):
    """A span of a release that keeps its attributes in another way."""

    _attributes = SimpleNamespace(_dict=dict, maxlen=128, max_value_len=None, _immutable=False)


def test_a_release_that_keeps_them_in_another_way_is_asked() -> None:
    span = _Newer()
    for number in range(2):
        put(span, {"number": number})
    assert span.told == {"number": 1}
