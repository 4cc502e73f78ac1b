"""The cases by name, as their modules register them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.world import World

    Run = Callable[[World], None]

CASES: Final[dict[str, Run]] = {}
"""What to do to a world, by the name of the case."""

WHOLE_ONLY: Final[set[str]] = set()
"""Cases too long for the short form."""


class SkippedError(Exception):
    """A case cannot run here; says why."""


def case(name: str, *, whole_only: bool = False) -> Callable[[Run], Run]:
    """Register a case under its name."""

    def register(run: Run) -> Run:
        CASES[name] = run
        if whole_only:
            WHOLE_ONLY.add(name)
        return run

    return register
