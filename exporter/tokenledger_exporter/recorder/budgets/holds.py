"""What the calls in flight have reserved, until the rows of their spans are committed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.recorder.budgets.leases import Leases
    from tokenledger_exporter.store.budget_charges import Account
    from tokenledger_semconv.budgets import CallAttributes


@dataclass(slots=True, eq=False)
class LeaseHold:
    """What one call has reserved; the commit of its row frees it."""

    holds: Holds
    used: Mapping[Account, Decimal]
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    ended_at: float = 0.0

    def bind(self, trace_id: int, span_id: int) -> None:
        """Note a span whose row frees it."""
        self.spans.append((trace_id, span_id))
        self.holds.add(self, trace_id, span_id)

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:  # noqa: ARG002
        """Note that the call ended; its row says what it cost."""
        self.ended_at = time.monotonic()

    def release(self) -> None:
        """Free the money of a request that was never sent."""
        self.holds.end(self, is_spent=False)


class Holds:
    """The holds of this process by span.

    Args:
        leases: what they use.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases: Final = leases
        # No lock: a call may end inside a garbage collection, and each step is one operation.
        self._by_span: Final[dict[tuple[int, int], LeaseHold]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_span)

    @property
    def has_ended(self) -> bool:
        """Whether a call has ended that is not committed."""
        return any(hold.ended_at for hold in list(self._by_span.values()))

    def take(self, accounts: Sequence[Account], usd: Decimal) -> LeaseHold | None:
        """A hold of money that the leases have; `None` if they do not have enough."""
        if not self._leases.take(accounts, usd):
            return None
        return LeaseHold(self, dict.fromkeys(accounts, usd))

    def add(self, hold: LeaseHold, trace_id: int, span_id: int) -> None:
        """Find the hold by a span."""
        self._by_span[trace_id, span_id] = hold

    def of_row(self, row: LedgerRow) -> LeaseHold | None:
        """The hold of a row's call; `None` if it has none."""
        return self._by_span.get((int(row.trace_id or "0", 16), int(row.span_id or "0", 16)))

    def end(self, hold: LeaseHold, *, is_spent: bool) -> None:
        """End a hold; safe to call twice. `is_spent` is as for `Leases.free`."""
        used, hold.used = hold.used, {}
        for span in hold.spans:
            self._by_span.pop(span, None)
        self._leases.free(used, is_spent=is_spent)

    def end_older(self, seconds: float) -> None:
        """End the holds of calls that ended so long ago: they have no row of their own.

        Such a call is the second report of another.
        """
        ended_before = time.monotonic() - seconds
        for hold in list(self._by_span.values()):
            if 0 < hold.ended_at < ended_before:
                self.end(hold, is_spent=True)
