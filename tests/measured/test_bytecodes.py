"""The lightest there is stays so: bytecodes are exact, so a call may cost no more than this.

Counted on CPython 3.11; other releases divide the same work differently. `make bench` prints the
figures, and times next to them.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import OWN_CODE, chunk_bytecodes
from benchmarks.imports import FIRST_USE, import_cost
from benchmarks.measures import bytecodes
from benchmarks.stub_calls import StubCalls
from benchmarks.variants import variants

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.variants import Variants

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="bytecodes are counted on CPython 3.11",
)


@pytest.fixture
def stubs() -> StubCalls:
    return StubCalls()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Generator[Variants]:
    # Put back afterwards: OpenTelemetry lets an app set its provider once.
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    with variants() as held:
        yield held


@pytest.mark.parametrize(
    ("call", "most"), [("chat", 2_520), ("response", 2_560), ("message", 2_610)]
)
def test_a_call_costs_little_more_than_a_span(
    compared: Variants, stubs: StubCalls, call: str, most: int
) -> None:
    made = getattr(stubs, call)
    assert bytecodes(compared.ours(made)) - bytecodes(compared.bare(made)) <= most


@pytest.mark.parametrize("call", ["chat", "response", "message"])
def test_writing_both_records_adds_a_third_of_a_span(
    compared: Variants, stubs: StubCalls, call: str
) -> None:
    made = getattr(stubs, call)
    # 592, and some 70 more where a sync of the disk falls into the traced call, which takes long.
    assert bytecodes(compared.booked(made)) - bytecodes(compared.ours(made)) <= 700


def test_a_text_chunk_is_read_once(compared: Variants, stubs: StubCalls) -> None:
    asked = partial(stubs.chat_stream, asked=True)
    assert chunk_bytecodes(compared, asked) <= 30
    assert chunk_bytecodes(compared, stubs.message_stream) <= 30


def test_a_chunk_whose_usage_we_ask_for_costs_no_more_code_of_ours(
    compared: Variants, stubs: StubCalls
) -> None:
    """The SDK reads one field more then, which the provider puts on every chunk."""
    assert chunk_bytecodes(compared, stubs.chat_stream, OWN_CODE) <= 30


def test_importing_loads_nothing_heavy() -> None:
    assert import_cost(FIRST_USE).heavy == []
