"""The object that owns a call's spans is finished once, from any thread, whatever fails."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING

import pytest
from opentelemetry import context
from opentelemetry.trace import StatusCode

from support.spans import AppTracing, attributes_of
from tokenledger import _guard
from tokenledger._calls.call import Call, Running
from tokenledger._guard import Guard
from tokenledger._usage.fields import token_attributes
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


def _call(*spans: Span) -> Call:
    here = context.get_current()
    return Call(spans, here, here, {}, time.time_ns())


class _StatusError(Exception):
    status_code = 418


def test_only_the_first_finish_counts(
    tracing: AppTracing, caplog: pytest.LogCaptureFixture
) -> None:
    call = _call(_span(tracing))
    call.finish({RESPONSE_MODEL: "first"})
    call.finish({RESPONSE_MODEL: "second"}, _StatusError())
    assert attributes_of(tracing.spans[0]) == {RESPONSE_MODEL: "first"}
    assert not caplog.records, "an ended span was touched again"


def test_many_threads_finish_once(tracing: AppTracing) -> None:
    call = _call(_span(tracing))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(64):
            pool.submit(call.finish)
    assert len(tracing.spans) == 1


def test_every_span_of_a_call_gets_the_same_end(tracing: AppTracing) -> None:
    call = _call(_span(tracing), _span(tracing))
    call.finish(error=_StatusError("canary-text"))
    for span in tracing.spans:
        assert attributes_of(span) == {ERROR_TYPE: "_StatusError", HTTP_STATUS_CODE: 418}
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None


def test_a_span_that_fails_to_end_does_not_leave_the_other_open(
    tracing: AppTracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = _span(tracing)
    monkeypatch.setattr(broken, "end", _raise)
    _call(broken, _span(tracing)).finish()
    assert len(tracing.spans) == 1
    assert _guard.counts() == {"ending a span": 1}
    _guard.reset()


def _raise(*_args: object) -> None:
    raise RuntimeError("canary-internal")


def test_the_time_to_the_first_chunk_is_measured_once(tracing: AppTracing) -> None:
    call = _call(_span(tracing))
    call.first_chunk()
    call.finish()
    waited = attributes_of(tracing.spans[0])[TIME_TO_FIRST_CHUNK]
    assert isinstance(waited, float)
    assert 0 <= waited < 5


def _running(name: str) -> Running:
    before = context.get_current()
    return Running(before, context.set_value("inside", name, before))


def test_a_context_left_open_inside_ends_with_the_call() -> None:
    before = context.get_current()
    with _running("a"):
        context.attach(context.set_value("left", "open"))
    assert context.get_current() is before


def test_leaving_a_call_in_another_context_does_not_change_that_context() -> None:
    running = _running("a")
    copy_context().run(running.__enter__)
    token = context.attach(context.set_value("mine", "1"))
    mine = context.get_current()
    running.__exit__(None, None, None)
    assert context.get_current() is mine
    context.detach(token)


def test_missing_counts_are_left_out_and_zero_is_not() -> None:
    said = token_attributes(TokenVector(input_tokens=0))
    assert said == {INPUT_TOKENS: 0}
    assert OUTPUT_TOKENS not in said


def test_the_shorter_lifetime_is_reported_if_the_longer_one_is_known() -> None:
    tokens = TokenVector(input_tokens=10, cache_write_tokens=9, cache_write_1h_tokens=4)
    said = token_attributes(tokens)
    assert (said[CACHE_WRITE_5M_TOKENS], said[CACHE_WRITE_1H_TOKENS]) == (5, 4)
    bare = token_attributes(TokenVector(input_tokens=10, cache_write_tokens=9))
    assert CACHE_WRITE_5M_TOKENS not in bare


def test_a_guard_counts_every_failure_and_logs_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "tokenledger"):
        for _ in range(3):
            with Guard("testing"):
                raise RuntimeError("canary-internal")
    assert _guard.counts() == {"testing": 3}
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    assert "testing failed (RuntimeError)" in caplog.text
    _guard.reset()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_guard_passes_the_apps_interrupts_on(error: type[BaseException]) -> None:
    with pytest.raises(error), Guard("testing"):
        raise error
    assert _guard.counts() == {}
