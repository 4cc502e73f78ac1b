"""Process-wide state: the installed ledger, and what else exists once per process.

The recorder sets it and the queries read it, so that neither needs to import the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from tokenledger_semconv.settings import Settings


class InstalledLedger(Protocol):
    """A ledger that records the calls of this process."""

    @property
    def settings(self) -> Settings:
        """The settings it was opened with."""
        ...


@dataclass(slots=True)
class Process:
    """State of this process.

    Args:
        ledger: the ledger in effect; `None` before `configure()` and after its shutdown.
        has_metrics: whether the ledger's metrics are registered with the app's meter provider.
        embedded: the embedded Postgres that this process started; `None` if it did not.
        exit_began_at: when the interpreter began to exit, by `time.monotonic()`; `None` before.
    """

    ledger: InstalledLedger | None = None
    has_metrics: bool = False
    embedded: object | None = None
    exit_began_at: float | None = None


PROCESS: Final = Process()
