"""What a drainer has done so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True)
class DrainState:
    """What the drainer has done so far, for `health`.

    Args:
        committed_rows: rows in the ledger.
        failures: attempts that failed.
        last_error: why the last attempt failed; "" if it succeeded.
        last_commit_at: when rows were committed last.
        unreadable: records that are not a valid span; they are quarantined in the ledger.
        rejected: rows that the ledger refused; they are quarantined too.
        dropped: spans that are not a call of their own, such as an agent's or a tool's.
        dropped_example: a description of the last of those.
    """

    committed_rows: int = 0
    failures: int = 0
    last_error: str = ""
    last_commit_at: datetime | None = None
    unreadable: int = 0
    rejected: int = 0
    dropped: int = 0
    dropped_example: str = ""

    @property
    def quarantined(self) -> int:
        """Calls of this process in `token_ledger_rejected`, with their reasons."""
        return self.unreadable + self.rejected
