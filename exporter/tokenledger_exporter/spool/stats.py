"""What the spool hands out and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.span_record import SpoolHeader


@dataclass(slots=True)
class Batch:
    """Records handed out for writing, with what it takes to forget them.

    Args:
        header: whose records these are.
        payloads: records in the order they were made.
        forget: call after COMMIT.
    """

    header: SpoolHeader
    payloads: list[bytes]
    forget: Callable[[], None]


@dataclass(slots=True)
class SpoolStats:
    """What waits and what was lost, for `health` and `doctor`; `unrecorded` never became bytes."""

    waiting: int = 0
    on_disk: bool = True
    refused: int = 0
    damaged: int = 0
    torn: int = 0
    unrecorded: int = 0
    kept_aside: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """Records known to be gone, whatever the reason."""
        return self.refused + self.damaged + self.torn + self.unrecorded
