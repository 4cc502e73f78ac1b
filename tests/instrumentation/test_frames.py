"""A warning names the app's line although our wrapper stands between the app and the SDK."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from tokenledger._frames import callers_frame, hide_from_warnings

if TYPE_CHECKING:
    from collections.abc import Callable


def warns() -> None:
    """Like a deprecated method of an SDK: it blames its caller."""
    warnings.warn("old", DeprecationWarning, stacklevel=2)


def warned_line(call: Callable[[], None]) -> int:
    with pytest.warns(DeprecationWarning, match="old") as caught:
        call()
    return caught[0].lineno


def test_a_hidden_wrapper_is_left_out_when_a_warning_looks_for_its_line() -> None:
    def plain() -> None:
        warns()

    @hide_from_warnings
    def hidden() -> None:
        warns()

    def app(wrapper: Callable[[], None]) -> None:
        wrapper()

    line_of_app = app.__code__.co_firstlineno + 1
    assert warned_line(lambda: app(hidden)) == line_of_app
    assert warned_line(lambda: app(plain)) == plain.__code__.co_firstlineno + 1


def test_what_has_no_code_object_stays_as_it_is() -> None:
    assert hide_from_warnings(len) is len


def test_a_frame_is_that_of_the_caller() -> None:
    marker = "found by its name"
    frame = callers_frame()
    assert frame is not None
    assert frame.f_locals["marker"] is marker
