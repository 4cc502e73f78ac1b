"""A stretch of running code under a context of its own, put back without a token.

A token must be given back in the context that made it, and generators, tasks and threads finish
elsewhere. A stretch stands in the context itself instead, with what was in force before it, so that
its owner may be entered again, nested, and shared by threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry import context

if TYPE_CHECKING:
    from opentelemetry.context import Context

_STRETCH: Final = context.create_key("tokenledger-stretch")


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    owner: object
    before: Context


def enter(owner: object, running: Context) -> None:
    """Run what follows in this context, until the owner leaves."""
    stretch = _Stretch(owner, context.get_current())
    context.attach(context.set_value(_STRETCH, stretch, running))


def leave(owner: object) -> None:
    """Put back what was before the owner's innermost stretch; nothing if none is in force."""
    stretch = _stretch_of(owner)
    if stretch is not None:
        context.attach(stretch.before)


def in_force(owner: object) -> bool:
    """Whether the running context is inside a stretch of this owner."""
    return _stretch_of(owner) is not None


def _stretch_of(owner: object) -> _Stretch | None:
    stretch = _in(context.get_current())
    while stretch is not None and stretch.owner is not owner:
        stretch = _in(stretch.before)
    return stretch


def _in(current: Context) -> _Stretch | None:
    stretch = current.get(_STRETCH)
    return stretch if isinstance(stretch, _Stretch) else None
