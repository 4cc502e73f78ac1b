"""The four loops over a stream are one loop, written out four times for its bytecodes."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from tokenledger.instrumentors._stainless import stream

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS = vars(stream)


def body_of(function: Callable[..., Any]) -> str:
    """The source of a loop after its parameters, without the `async` of its loops."""
    _, _, body = inspect.getsource(function).partition("Generator[Any]:\n")
    return body.replace("async for", "for")


def without_text(body: str) -> str:
    """A loop without the lines that locate a chunk's text."""
    lines = body.splitlines()
    assert len([line for line in lines if "weight +=" in line]) == 1
    own = re.compile(r"weight \+=|discard\(hidden\)|^    look, .* = ")
    return "\n".join(line for line in lines if not own.search(line))


@pytest.mark.parametrize("kind", ["chat", "events"])
def test_the_async_loop_differs_only_by_its_await(kind: str) -> None:
    sync_body, async_body = body_of(LOOPS[f"_{kind}"]), body_of(LOOPS[f"_async_{kind}"])
    assert sync_body
    assert sync_body == async_body


def test_events_differ_from_chunks_only_in_locating_their_text() -> None:
    assert without_text(body_of(LOOPS["_chat"])) == without_text(body_of(LOOPS["_events"]))
