"""Decides before a call is sent whether every budget has room for it.

While a limit is far, calls use money that the database has leased to this process: no I/O. Near the
limit, each call asks the database. What a call has reserved is freed by the commit of its row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Lock
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.rating.live_price import price_of
from tokenledger_exporter.recorder.budgets import round_trip
from tokenledger_exporter.recorder.budgets.call_values import CallValues, stored_text
from tokenledger_exporter.recorder.budgets.estimates import (
    QUANTILE,
    Estimates,
    estimate_by_size,
)
from tokenledger_exporter.recorder.budgets.leases import Leases
from tokenledger_exporter.recorder.budgets.round_trip import (
    ReserveConnection,
    outage_of,
    refusal_of,
)
from tokenledger_semconv.budgets import ROUND_TRIP, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from tokenledger_exporter.domain.budget import Budget
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.recorder.budgets.round_trip import Answer
    from tokenledger_exporter.store.budget_charges import Account
    from tokenledger_exporter.store.writer import BatchWriter
    from tokenledger_semconv.budgets import BudgetGuard, CallAttributes, RoundTrip

CHECK_SECONDS: Final = 2.0
"""How often a process with budgets looks for changes and extends its leases."""

IDLE_CHECK_SECONDS: Final = 4.0
"""How often a process without budgets looks for the first one."""

LEASE_LIFETIME: Final = timedelta(minutes=1)
"""A process that does not extend its leases for this long counts as dead."""

_FIRST_LOAD_SECONDS: Final = 1.0
_FORGET_SECONDS: Final = 60.0
_MAX_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Enforced:
    """The budgets that may refuse calls, and what they need to know of a call."""

    budgets: tuple[Budget, ...] = ()
    dimensions: tuple[str, ...] = ()
    matching: dict[tuple[str, ...], tuple[Budget, ...]] = field(
        default_factory=dict[tuple[str, ...], "tuple[Budget, ...]"]
    )


@dataclass(slots=True, eq=False)
class LeaseHold:
    """What one call has reserved; the commit of its row frees it."""

    guard: LeaseGuard
    used: Mapping[Account, Decimal]
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    ended_at: float = 0.0

    def bind(self, trace_id: int, span_id: int) -> None:
        """Note a span whose row frees it."""
        self.spans.append((trace_id, span_id))
        self.guard.holds[trace_id, span_id] = self

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:  # noqa: ARG002
        """Note that the call ended; its row says what it cost."""
        self.ended_at = time.monotonic()

    def release(self) -> None:
        """Free the money of a request that was never sent."""
        self.guard.forget(self, is_spent=False)


class LeaseGuard:
    """The budgets of one process. It asks the ledger for them with the first call.

    Args:
        database_url: the ledger.
        app_name: the app's name in refusals.
        holder: the name of this process in `token_ledger_budget_holds`; another one after a fork.
        of_process: dimension -> value that every call of this process has.
        header: the header of the spool, for the prices of calls.
        start: starts the thread that calls `check`.
        commit: commits the calls that have ended, and waits for it.
    """

    def __init__(  # noqa: PLR0913 - one keyword per part of the process
        self,
        *,
        database_url: str,
        app_name: str,
        holder: Callable[[], str],
        of_process: Mapping[str, str],
        header: SpoolHeader,
        start: Callable[[], None],
        commit: Callable[[], object],
    ) -> None:
        self._holder: Final = holder
        self._values: Final = CallValues(of_process)
        self._header: Final = header
        self._start: Final = start
        self._commit: Final = commit
        self._database_url: Final = database_url
        self._app_name: Final = stored_text(app_name)
        self._changed: Callable[[BudgetGuard | None], None] | None = None
        self.outages = 0
        self._reset()

    def _reset(self) -> None:
        self.holds: dict[tuple[int, int], LeaseHold] = {}
        self._enforced = _Enforced()
        self._leases = Leases()
        self._estimates = Estimates()
        self._has_quantiles = False
        self._is_loaded = False
        self._first_check = Event()
        self._has_waited = False
        self._asking = Lock()
        self._reserving = ReserveConnection(self._database_url, self._app_name)
        self._has_leases = False
        self._next_check = 0.0

    def enforce(self, changed: Callable[[BudgetGuard | None], None]) -> None:
        """Call a function now, and whenever there are budgets that may refuse calls, or no more."""
        if self._changed is None:
            # The budgets may have been read long ago.
            self._is_loaded = self._has_waited = False
            self._first_check.clear()
        self._changed = changed
        changed(self if self._enforced.budgets or not self._is_loaded else None)

    def after_fork(self) -> None:
        """In a forked child: the leases and the connection are the parent's."""
        self._reserving.after_fork()
        self._reset()
        if self._changed is not None:
            self._changed(self)

    @property
    def holder(self) -> str:
        """The name of this process in `token_ledger_budget_holds`."""
        return self._holder()

    @property
    def seconds_to_check(self) -> float | None:
        """How long until `check` is due; `None` if no app asks for budgets."""
        if self._changed is None:
            return None
        return max(0.0, self._next_check - time.monotonic())

    def try_reserve(
        self,
        attributes: CallAttributes,
        input_characters: int,  # noqa: ARG002 - `reserve` estimates by size
    ) -> LeaseHold | Refusal | RoundTrip | None:
        """Decide from the leases alone."""
        if not self._is_loaded:
            return None if self._has_waited else ROUND_TRIP
        budgets = self._matching(attributes)
        if not budgets:
            return None
        usd = self._estimates.past(attributes)
        if usd is None:
            return ROUND_TRIP
        return self._take(attributes, budgets, usd) or ROUND_TRIP

    def reserve(
        self, attributes: CallAttributes, input_characters: int
    ) -> LeaseHold | Refusal | None:
        """Decide; it may wait for the first list of budgets, or for one answer of the database."""
        if not self._wait_for_budgets():
            return None
        budgets = self._matching(attributes)
        if not budgets:
            return None
        # Calls that ended have reserved their estimates until they are committed.
        if self._has_uncommitted():
            answer = self._ask_safely(attributes, input_characters, budgets, is_last_try=False)
            if not (isinstance(answer, Refusal) and answer.reason == "limit"):
                return answer
            self._commit()
        return self._ask_safely(attributes, input_characters, budgets)

    def of_row(self, row: LedgerRow) -> Mapping[Account, Decimal] | None:
        """What a row's call has reserved."""
        hold = self.holds.get(_span_of(row))
        return None if hold is None else hold.used

    def free(self, rows: Iterable[LedgerRow]) -> None:
        """Forget what the calls of committed rows have reserved, and learn what they cost."""
        if not self._enforced.budgets and not self.holds:
            return
        rows = list(rows)
        for row in rows:
            if (hold := self.holds.get(_span_of(row))) is not None:
                self.forget(hold, is_spent=True)
        self._estimates.learn(rows)

    def forget(self, hold: LeaseHold, *, is_spent: bool) -> None:
        """End a hold; safe to call twice."""
        used, hold.used = hold.used, {}
        for span in hold.spans:
            self.holds.pop(span, None)
        self._leases.free(used, is_spent=is_spent)

    def note_budgets(self, budgets: Sequence[Budget], *, is_changed: bool) -> None:
        """Take over the budgets of the ledger; leases of older ones are recalled."""
        if self._is_loaded and not is_changed:
            return
        refusing = tuple(budget for budget in budgets if budget.may_refuse)
        dimensions = sorted({name for budget in refusing for name in budget.dimensions})
        self._enforced = _Enforced(refusing, tuple(dimensions))
        self._leases.recall()
        self._is_loaded = True
        self._first_check.set()
        if self._changed is not None:
            self._changed(self if refusing else None)

    def check(self, writer: BatchWriter, *, has_waiting: bool) -> None:
        """Look for changed budgets and extend the leases; raises as `BatchWriter.write`.

        Args:
            writer: the connection to use.
            has_waiting: whether records wait to be committed.
        """
        pause = CHECK_SECONDS if self._enforced.budgets else IDLE_CHECK_SECONDS
        self._next_check = time.monotonic() + pause
        writer.refresh_budgets()
        if self._enforced.budgets and not self._has_quantiles:
            self._estimates.note_ledger(writer.past_costs(QUANTILE))
            self._has_quantiles = True
        if not has_waiting:
            self._forget_uncommitted()
        self._keep_leases(writer)

    def note_failed_check(self) -> None:
        """The first call stops waiting for budgets that cannot be read."""
        self._first_check.set()

    def recall(self) -> None:
        """Give back what no call uses, now; raises as `BatchWriter.write`."""
        with self._asking:
            self._recall()

    def _recall(self) -> None:
        self._leases.recall()
        self._reserving.keep_leases(self.holder, self._leases.given_back(), LEASE_LIFETIME)

    def close(self, writer: BatchWriter) -> None:
        """Give back what no call uses; raises as `BatchWriter.write`."""
        self._reserving.close()
        self._leases.recall()
        self._keep_leases(writer)

    def _keep_leases(self, writer: BatchWriter) -> None:
        # No lease may be granted between the amounts and the statement.
        with self._asking:
            if self._has_leases:
                amounts = self._leases.given_back()
                writer.keep_leases(self.holder, amounts, LEASE_LIFETIME)
                self._has_leases = bool(amounts)

    def _forget_uncommitted(self) -> None:
        """Free calls that ended long ago and have no row of their own, such as second reports."""
        ended_before = time.monotonic() - _FORGET_SECONDS
        for hold in list(self.holds.values()):
            if 0 < hold.ended_at < ended_before:
                self.forget(hold, is_spent=True)

    def _wait_for_budgets(self) -> bool:
        """Whether the budgets are known; the first call of a process waits for them, once."""
        if not self._has_waited:
            self._start()
            self._first_check.wait(_FIRST_LOAD_SECONDS)
            self._has_waited = True
            if not self._is_loaded and self._changed is not None:
                # Further calls do not ask until the budgets are read, which may be now.
                self._changed(None)
                if self._enforced.budgets:
                    self._changed(self)
        return self._is_loaded

    def _matching(self, attributes: CallAttributes) -> tuple[Budget, ...]:
        enforced = self._enforced
        values = self._values.read(attributes, enforced.dimensions)
        matching = enforced.matching.get(values)
        if matching is None:
            value_of = dict(zip(enforced.dimensions, values, strict=True)).__getitem__
            matching = tuple(
                budget for budget in enforced.budgets if budget.account_of(value_of) is not None
            )
            if len(enforced.matching) >= _MAX_CACHED:
                enforced.matching.clear()
            enforced.matching[values] = matching
        return matching

    def _take(
        self, attributes: CallAttributes, budgets: Sequence[Budget], usd: Decimal
    ) -> LeaseHold | None:
        dimensions = self._enforced.dimensions
        values = dict(zip(dimensions, self._values.read(attributes, dimensions), strict=True))
        accounts = [
            (budget.budget_id, values[budget.each] if budget.each else "") for budget in budgets
        ]
        has_taken = self._leases.take(accounts, usd)
        return LeaseHold(self, dict.fromkeys(accounts, usd)) if has_taken else None

    def _has_uncommitted(self) -> bool:
        return any(hold.ended_at for hold in list(self.holds.values()))

    def _ask_safely(
        self,
        attributes: CallAttributes,
        input_characters: int,
        budgets: Sequence[Budget],
        *,
        is_last_try: bool = True,
    ) -> LeaseHold | Refusal | None:
        # The writer's thread has it while it extends the leases, for as long as the database hangs.
        if not self._asking.acquire(timeout=round_trip.ASKING_SECONDS):
            return self._outage(budgets, DatabaseUnreachableError("no answer in time"))
        try:
            return self._ask(attributes, input_characters, budgets, is_last_try=is_last_try)
        except LedgerError as error:
            return self._outage(budgets, error)
        finally:
            self._asking.release()

    def _ask(
        self,
        attributes: CallAttributes,
        input_characters: int,
        budgets: Sequence[Budget],
        *,
        is_last_try: bool,
    ) -> LeaseHold | Refusal | None:
        usd = self._estimates.past(attributes)
        if usd is None:
            usd = estimate_by_size(attributes, input_characters, self._price)
        # Another call may have got a larger lease meanwhile.
        if usd is not None and (hold := self._take(attributes, budgets, usd)) is not None:
            return hold
        values = self._values.read(attributes, self._enforced.dimensions)
        dimensions = dict(zip(self._enforced.dimensions, values, strict=True))
        accounts = [
            (budget.budget_id, dimensions[budget.each] if budget.each else "") for budget in budgets
        ]
        may_retry = self._leases.has_available(accounts)
        answers = self._reserving.reserve(
            self.holder, dimensions, usd, LEASE_LIFETIME, is_last_try=is_last_try and not may_retry
        )
        if may_retry and any(answer.is_refused for answer in answers):
            # What is left of a lease may be what this call needs.
            self._recall()
            answers = self._reserving.reserve(
                self.holder, dimensions, usd, LEASE_LIFETIME, is_last_try=is_last_try
            )
        for answer in answers:
            if answer.is_refused:
                return refusal_of(answer)
        return self._granted(answers)

    def _price(self, attributes: Mapping[str, object], start_ns: int) -> Decimal | None:
        prices_of = self._reserving.prices_of
        return price_of(
            attributes, start_ns, failed=False, header=self._header, prices_of=prices_of
        )

    def _granted(self, answers: Sequence[Answer]) -> LeaseHold | None:
        if not answers:
            return None
        used = {answer.account: answer.needed_usd for answer in answers}
        self._leases.grant({answer.account: answer.granted_usd for answer in answers}, used)
        self._has_leases = True
        return LeaseHold(self, used)

    def _outage(self, budgets: Sequence[Budget], error: LedgerError) -> Refusal | None:
        """What happens to a call while the database cannot be asked."""
        self.outages += 1
        if self.outages == 1:
            warn("budget_outage", f"budgets cannot be checked: {error}")
        return next((outage_of(each) for each in budgets if each.on_outage == "refuse"), None)


def _span_of(row: LedgerRow) -> tuple[int, int]:
    return (int(row.trace_id or "0", 16), int(row.span_id or "0", 16))
