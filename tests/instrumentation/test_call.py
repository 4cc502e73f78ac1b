"""The object that owns a call's spans: finished once, from anywhere, whatever fails."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import StatusCode

from instrumentation.harness import AppTracing, attributes
from tokenledger import failures
from tokenledger.call import Call
from tokenledger.failures import Guard
from tokenledger.reading import Reading, attributes_of
from tokenledger_semconv.attributes import (
    CACHE_WRITE_1H_TOKENS,
    CACHE_WRITE_5M_TOKENS,
    ERROR_TYPE,
    HTTP_STATUS_CODE,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    RESPONSE_MODEL,
    TIME_TO_FIRST_CHUNK,
)
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@pytest.fixture
def tracing() -> AppTracing:
    return AppTracing()


def _span(tracing: AppTracing) -> Span:
    return tracing.provider.get_tracer("tokenledger.test").start_span("chat")


class _StatusError(Exception):
    status_code = 418


def test_only_the_first_finish_counts(
    tracing: AppTracing, caplog: pytest.LogCaptureFixture
) -> None:
    call = Call((_span(tracing),))
    call.finish(Reading(response_model="first"))
    call.finish(Reading(response_model="second"), _StatusError())
    assert attributes(tracing.spans[0]) == {RESPONSE_MODEL: "first"}
    assert not caplog.records, "an ended span was touched again"


def test_many_threads_finish_once(tracing: AppTracing) -> None:
    call = Call((_span(tracing),))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(64):
            pool.submit(call.finish)
    assert len(tracing.spans) == 1


def test_every_span_of_a_call_is_finished_the_same(tracing: AppTracing) -> None:
    call = Call((_span(tracing), _span(tracing)))
    call.finish(error=_StatusError("canary-text"))
    for span in tracing.spans:
        assert attributes(span) == {ERROR_TYPE: "_StatusError", HTTP_STATUS_CODE: 418}
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None


def test_a_span_that_cannot_end_does_not_keep_the_other_open(
    tracing: AppTracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = _span(tracing)
    monkeypatch.setattr(broken, "end", _raise)
    Call((broken, _span(tracing))).finish()
    assert len(tracing.spans) == 1
    assert failures.counts() == {"ending a span": 1}
    failures.reset()


def _raise(*_args: object) -> None:
    raise RuntimeError("canary-internal")


def test_the_time_to_the_first_chunk_is_measured_once(tracing: AppTracing) -> None:
    call = Call((_span(tracing),))
    call.first_chunk()
    call.finish()
    waited = attributes(tracing.spans[0])[TIME_TO_FIRST_CHUNK]
    assert isinstance(waited, float)
    assert 0 <= waited < 5


def test_inside_a_call_its_span_is_current_and_baggage_is_gone(tracing: AppTracing) -> None:
    span = _span(tracing)
    token = context.attach(baggage.set_baggage("user.id", "u1"))
    before = context.get_current()
    with Call((span,), span):
        assert trace.get_current_span() is span
        assert not baggage.get_all()
    assert context.get_current() is before
    context.detach(token)


def test_an_error_inside_passes_unchanged_and_fails_the_call(tracing: AppTracing) -> None:
    error = _StatusError()
    with pytest.raises(_StatusError) as raised, Call((_span(tracing),)):
        raise error
    assert raised.value is error
    assert attributes(tracing.spans[0])[HTTP_STATUS_CODE] == 418


def test_a_context_left_open_inside_does_not_stay(tracing: AppTracing) -> None:
    before = context.get_current()
    with Call((_span(tracing),)):
        context.attach(context.set_value("left", "open"))
    assert context.get_current() is before


def test_a_call_left_in_another_context_leaves_that_one_alone(tracing: AppTracing) -> None:
    call = Call((_span(tracing),))
    copy_context().run(call.__enter__)
    token = context.attach(context.set_value("mine", "1"))
    mine = context.get_current()
    call.__exit__(None, None, None)
    assert context.get_current() is mine
    context.detach(token)


def test_missing_counts_are_left_out_and_zero_is_not() -> None:
    said = attributes_of(Reading(tokens=TokenVector(input_tokens=0)))
    assert said == {INPUT_TOKENS: 0}
    assert OUTPUT_TOKENS not in said


def test_the_shorter_lifetime_is_told_where_the_longer_one_is_known() -> None:
    tokens = TokenVector(input_tokens=10, cache_write_tokens=9, cache_write_1h_tokens=4)
    said = attributes_of(Reading(tokens=tokens))
    assert (said[CACHE_WRITE_5M_TOKENS], said[CACHE_WRITE_1H_TOKENS]) == (5, 4)
    bare = attributes_of(Reading(tokens=TokenVector(input_tokens=10, cache_write_tokens=9)))
    assert CACHE_WRITE_5M_TOKENS not in bare


def test_a_guard_counts_every_failure_and_logs_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "tokenledger"):
        for _ in range(3):
            with Guard("testing"):
                raise RuntimeError("canary-internal")
    assert failures.counts() == {"testing": 3}
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    assert "testing failed (RuntimeError)" in caplog.text
    failures.reset()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_guard_lets_the_apps_interrupts_pass(error: type[BaseException]) -> None:
    with pytest.raises(error), Guard("testing"):
        raise error
    assert failures.counts() == {}
