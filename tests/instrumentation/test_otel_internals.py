"""Each shortcut past OpenTelemetry gives what the public function gives, or falls back to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from tokenledger import _otel_internals
from tokenledger._otel_internals import baggage_in, set_attributes, with_span, without_baggage

if TYPE_CHECKING:
    from tokenledger._usage.fields import Attributes

ATTRIBUTES: Attributes = {
    "model": "gpt-4o",
    "tokens": 12,
    "share": 0.5,
    "reasons": ("stop",),
    "first": True,
}
NO_KEYS = {"SPAN_KEY": "", "_BAGGAGE_KEY": ""}


@pytest.fixture(autouse=True)
def no_class_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_otel_internals, "_CHECKED", {})


def new_span(**limits: int) -> Any:  # noqa: ANN401 - the SDK's own span, with its internals
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("chat", attributes={"start": "s"})


def record_calls(span: object, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The arguments of the class's own `set_attributes` from here on."""
    calls: list[object] = []
    original = Span.set_attributes

    def set_attributes(self: Span, attributes: Any) -> None:  # noqa: ANN401
        calls.append(attributes)
        original(self, attributes)

    monkeypatch.setattr(type(span), "set_attributes", set_attributes, raising=False)
    return calls


@pytest.mark.parametrize("keys", [{}, NO_KEYS], ids=["shortcut", "fallback"])
def test_a_context_is_as_the_public_functions_make_it(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    for name, key in keys.items():
        monkeypatch.setattr(_otel_internals, name, key)
    span = new_span()
    current = baggage.set_baggage("user.id", "u-1", Context({"other": 1}))
    assert with_span(current, span) == trace.set_span_in_context(span, current)
    assert baggage.get_all(without_baggage(current)) == {}
    assert without_baggage(current)["other"] == 1


@pytest.mark.parametrize("name", ["baggage_in", "_baggage_in"])
def test_baggage_is_read_from_a_context_or_is_empty(name: str) -> None:
    read = vars(_otel_internals)[name]
    assert read(Context()) is None
    assert dict(read(baggage.set_baggage("user.id", "u-1", Context()))) == {"user.id": "u-1"}


def test_a_release_whose_contexts_are_other_dictionaries_has_no_shortcut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def set_elsewhere(*_arguments: object) -> Context:
        return Context({"elsewhere": object()})

    monkeypatch.setattr(baggage, "set_baggage", set_elsewhere)
    monkeypatch.setattr(trace, "set_span_in_context", set_elsewhere)
    assert vars(_otel_internals)["_key_of_baggage"]() == ""
    assert vars(_otel_internals)["_key_of_span"]() == ""


def test_the_installed_release_has_both_shortcuts() -> None:
    assert _otel_internals.SPAN_KEY
    assert baggage_in is not vars(_otel_internals)["_baggage_in"]


@pytest.mark.parametrize("limits", [{}, {"max_span_attributes": 3}, {"max_attribute_length": 2}])
def test_a_span_gets_the_same_attributes_as_from_its_method(limits: dict[str, int]) -> None:
    for _ in range(3):
        ours, reference = new_span(**limits), new_span(**limits)
        set_attributes(ours, ATTRIBUTES)
        reference.set_attributes(ATTRIBUTES)
        assert dict(ours.attributes) == dict(reference.attributes)
        assert ours.dropped_attributes == reference.dropped_attributes


def test_the_second_span_of_a_class_takes_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    set_attributes(new_span(), ATTRIBUTES)
    span = new_span()
    lock = span._attributes._lock  # noqa: SLF001 - locked, so that its own method would hang
    with lock:
        set_attributes(span, ATTRIBUTES)
    assert span.attributes == {"start": "s", **ATTRIBUTES}
    assert not record_calls(span, monkeypatch)


def test_a_method_that_was_replaced_since_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    set_attributes(new_span(), ATTRIBUTES)
    span = new_span()
    calls = record_calls(span, monkeypatch)
    set_attributes(span, ATTRIBUTES)
    set_attributes(new_span(), ATTRIBUTES)
    assert calls == [ATTRIBUTES, ATTRIBUTES]


def test_a_method_that_was_replaced_before_is_called_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    span = new_span()
    calls = record_calls(span, monkeypatch)
    for _ in range(2):
        set_attributes(span, ATTRIBUTES)
    assert calls == [ATTRIBUTES, ATTRIBUTES]


def test_an_ended_span_does_not_change() -> None:
    set_attributes(new_span(), ATTRIBUTES)
    span = new_span()
    span.end()
    set_attributes(span, ATTRIBUTES)
    assert span.attributes == {"start": "s"}


class ForeignSpan:
    """A span of another implementation."""

    def __init__(self) -> None:
        self.stored: dict[str, object] = {}

    def set_attributes(self, attributes: dict[str, object]) -> None:
        """Store them elsewhere."""
        self.stored.update(attributes)


def test_a_span_of_another_implementation_gets_them_by_its_method() -> None:
    span = ForeignSpan()
    for number in range(2):
        set_attributes(span, {"number": number})
    assert span.stored == {"number": 1}
    set_attributes(INVALID_SPAN, ATTRIBUTES)


class NewerSpan(ForeignSpan):
    """A span of a release that stores its attributes in another way."""

    _attributes = SimpleNamespace(_dict=dict, maxlen=128, max_value_len=None, _immutable=False)


def test_a_span_of_a_release_that_stores_differently_gets_them_by_its_method() -> None:
    span = NewerSpan()
    for number in range(2):
        set_attributes(span, {"number": number})
    assert span.stored == {"number": 1}
