"""How long work reports its progress to the code that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

OnProgress: TypeAlias = "Callable[[int, int | None], None]"
"""Called with how much is done, and how much there is; `None` if that is not known."""


def ignore_progress(done: int, total: int | None) -> None:
    """Show nothing."""
