"""Decides before a call is sent whether every budget has room for it.

While a limit is far, calls use money that the database has leased to this process: no I/O. Near the
limit, each call asks the database. What a call has reserved is freed by the commit of its row.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
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
from tokenledger_exporter.recorder.budgets.holds import Holds, LeaseHold
from tokenledger_exporter.recorder.budgets.leases import Leases
from tokenledger_exporter.recorder.budgets.matching import EnforcedBudgets
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
    from tokenledger_exporter.recorder.budgets.matching import Match
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
        self._enforced = EnforcedBudgets()
        self._leases = Leases()
        self._holds = Holds(self._leases)
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
        changed(self if self._enforced or not self._is_loaded else None)

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
        match = self._enforced.match(attributes, self._values)
        if not match.budgets:
            return None
        usd = self._estimates.past(attributes)
        if usd is None:
            return ROUND_TRIP
        return self._holds.take(match.accounts, usd) or ROUND_TRIP

    def reserve(
        self, attributes: CallAttributes, input_characters: int
    ) -> LeaseHold | Refusal | None:
        """Decide; it may wait for the first list of budgets, or for one answer of the database."""
        if not self._wait_for_budgets():
            return None
        match = self._enforced.match(attributes, self._values)
        if not match.budgets:
            return None
        estimate = partial(self._estimate, attributes, input_characters)
        # Calls that ended have reserved their estimates until they are committed.
        if self._holds.has_ended:
            answer = self._ask(match, estimate, is_last_try=False)
            if not (isinstance(answer, Refusal) and answer.reason == "limit"):
                return answer
            self._commit()
        return self._ask(match, estimate, is_last_try=True)

    def of_row(self, row: LedgerRow) -> Mapping[Account, Decimal] | None:
        """What a row's call has reserved."""
        hold = self._holds.of_row(row)
        return None if hold is None else hold.used

    def free(self, rows: Iterable[LedgerRow]) -> None:
        """Forget what the calls of committed rows have reserved, and learn what they cost."""
        if not self._enforced and not self._holds:
            return
        rows = list(rows)
        for row in rows:
            if (hold := self._holds.of_row(row)) is not None:
                self._holds.end(hold, is_spent=True)
        self._estimates.learn(rows)

    def note_budgets(self, budgets: Sequence[Budget], *, is_changed: bool) -> None:
        """Take over the budgets of the ledger; leases of older ones are recalled."""
        if self._is_loaded and not is_changed:
            return
        self._enforced = EnforcedBudgets(budgets)
        self._leases.recall()
        self._is_loaded = True
        self._first_check.set()
        if self._changed is not None:
            self._changed(self if self._enforced else None)

    def check(self, writer: BatchWriter, *, has_waiting: bool) -> None:
        """Look for changed budgets and extend the leases; raises as `BatchWriter.write`.

        Args:
            writer: the connection to use.
            has_waiting: whether records wait to be committed.
        """
        pause = CHECK_SECONDS if self._enforced else IDLE_CHECK_SECONDS
        self._next_check = time.monotonic() + pause
        writer.refresh_budgets()
        if self._enforced and not self._has_quantiles:
            self._estimates.note_ledger(writer.past_costs(QUANTILE))
            self._has_quantiles = True
        if not has_waiting:
            self._holds.end_older(_FORGET_SECONDS)
        self._keep_leases(writer)

    def note_failed_check(self) -> None:
        """The first call stops waiting for budgets that cannot be read."""
        self._first_check.set()

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

    def _wait_for_budgets(self) -> bool:
        """Whether the budgets are known; the first call of a process waits for them, once."""
        if not self._has_waited:
            self._start()
            self._first_check.wait(_FIRST_LOAD_SECONDS)
            self._has_waited = True
            if not self._is_loaded and self._changed is not None:
                # Further calls do not ask until the budgets are read, which may be now.
                self._changed(None)
                if self._enforced:
                    self._changed(self)
        return self._is_loaded

    def _ask(
        self, match: Match, estimate: Callable[[], Decimal | None], *, is_last_try: bool
    ) -> LeaseHold | Refusal | None:
        # The writer's thread has it while it extends the leases, for as long as the database hangs.
        if not self._asking.acquire(timeout=round_trip.ASKING_SECONDS):
            return self._outage(match, DatabaseUnreachableError("no answer in time"))
        try:
            usd = estimate()
            # Another call may have got a larger lease meanwhile.
            if usd is not None and (hold := self._holds.take(match.accounts, usd)) is not None:
                return hold
            answers = self._reserve(match, usd, is_last_try=is_last_try)
        except LedgerError as error:
            return self._outage(match, error)
        finally:
            self._asking.release()
        for answer in answers:
            if answer.is_refused:
                return refusal_of(answer)
        used = {answer.account: answer.needed_usd for answer in answers}
        return LeaseHold(self._holds, used) if used else None

    def _reserve(self, match: Match, usd: Decimal | None, *, is_last_try: bool) -> list[Answer]:
        """Reserve in the database; what it grants is in the leases afterwards."""
        may_retry = self._leases.has_available(match.accounts)
        ask = partial(self._reserving.reserve, self.holder, match.dimensions, usd, LEASE_LIFETIME)
        answers = ask(is_last_try=is_last_try and not may_retry)
        if may_retry and any(answer.is_refused for answer in answers):
            # What is left of a lease may be what this call needs.
            self._leases.recall()
            self._reserving.keep_leases(self.holder, self._leases.given_back(), LEASE_LIFETIME)
            answers = ask(is_last_try=is_last_try)
        if answers and not any(answer.is_refused for answer in answers):
            self._leases.grant(
                {answer.account: answer.granted_usd for answer in answers},
                {answer.account: answer.needed_usd for answer in answers},
            )
            self._has_leases = True
        return answers

    def _estimate(self, attributes: CallAttributes, input_characters: int) -> Decimal | None:
        """What a call may cost; it may read prices over the connection that asks."""
        usd = self._estimates.past(attributes)
        if usd is None:
            usd = estimate_by_size(attributes, input_characters, self._price)
        return usd

    def _price(self, attributes: Mapping[str, object], start_ns: int) -> Decimal | None:
        prices_of = self._reserving.prices_of
        return price_of(
            attributes, start_ns, failed=False, header=self._header, prices_of=prices_of
        )

    def _outage(self, match: Match, error: LedgerError) -> Refusal | None:
        """What happens to a call while the database cannot be asked."""
        self.outages += 1
        if self.outages == 1:
            warn("budget_outage", f"budgets cannot be checked: {error}")
        refusing = (budget for budget in match.budgets if budget.on_outage == "refuse")
        return next(map(outage_of, refusing), None)
