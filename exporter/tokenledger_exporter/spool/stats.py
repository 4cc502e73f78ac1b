"""Batches that the spool hands out, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.span_record import SpoolHeader


@dataclass(slots=True)
class Batch:
    """Records to be written to the ledger.

    Args:
        header: the header of their segment.
        payloads: records, oldest first.
        forget: removes them from the spool; called after COMMIT.
    """

    header: SpoolHeader
    payloads: list[bytes]
    forget: Callable[[], None]


@dataclass(slots=True)
class SpoolStats:
    """What was lost and why, for `health` and `doctor`.

    Args:
        on_disk: whether the disk takes records.
        refused: records lost because disk and memory were full.
        damaged: records lost to a wrong checksum.
        torn: segments whose last record was incomplete.
        unrecorded: calls that could not be turned into a record.
        unreadable: segments of another format or ledger, renamed to `.seg.bad`.
    """

    on_disk: bool = True
    refused: int = 0
    damaged: int = 0
    torn: int = 0
    unrecorded: int = 0
    unreadable: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """Records known to be lost, for any reason."""
        return self.refused + self.damaged + self.torn + self.unrecorded
