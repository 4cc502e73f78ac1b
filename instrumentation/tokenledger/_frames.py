"""Frame helpers: hide a wrapper from warnings, and find a caller's frame."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

F = TypeVar("F", bound="Callable[..., Any]")

# `warnings` skips frames of the import system when it counts up to the app. An SDK's deprecation
# warning must name the line that calls the SDK, although our wrapper stands in between. Ref:
# `_is_internal_frame` in CPython's warnings.py and `is_internal_frame` in _warnings.c, 3.10 to
# 3.14, read 2026-11-25.
_IMPORT_SYSTEM: Final = "(importlib._bootstrap)"


def hide_from_warnings(function: F) -> F:
    """Leave a function's frames out when Python looks for the line that caused a warning.

    Without `__code__`, as in another implementation of Python, the function does not change: the
    warning then names our line.
    """
    code: Any = getattr(function, "__code__", None)
    if code is not None:
        hidden: Any = function
        hidden.__code__ = code.replace(co_filename=f"{code.co_filename} {_IMPORT_SYSTEM}")
    return function


def callers_frame() -> FrameType | None:
    """The frame of the function that calls this; `None` where Python has no frames."""
    try:
        return sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    except (AttributeError, ValueError):
        return None
