"""Asks all budgets before a call is sent: those of the runs around it, then the ledger's.

Our own failures let the call go on. Only a refusal stops it.
"""

from __future__ import annotations

import functools
import inspect
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context

from tokenledger._budget_switch import SWITCH
from tokenledger._budgets.errors import BudgetExceeded
from tokenledger._budgets.estimate import ENCODED_FILE_CHARACTERS
from tokenledger._budgets.inheritance import chain_in
from tokenledger._budgets.limit import reserve_all
from tokenledger._guard import Guard, report
from tokenledger._usage.estimate import input_characters
from tokenledger_semconv.budgets import ROUND_TRIP, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CapacityLimiter
    from anyio.lowlevel import RunVar
    from opentelemetry.context import Context

    from tokenledger_semconv.budgets import BudgetGuard, CallAttributes, Hold, RoundTrip


_MAX_THREADS: Final = 40


def has_budgets(current: Context) -> bool:
    """Whether any budget may refuse a call that is made in a context."""
    return SWITCH.guard is not None or bool(chain_in(current))


def admit(attributes: CallAttributes, body: object) -> Hold | None:
    """Ask all budgets; returns what they hold for the call.

    Args:
        attributes: the call's attributes at its start.
        body: the body of its request.

    Raises:
        BudgetExceeded: a budget refuses the call.
    """
    admission = Admission(attributes, body)
    if admission.needs_round_trip:
        admission.make_round_trip()
    return admission.result()


async def admit_async(attributes: CallAttributes, body: object) -> Hold | None:
    """The same; a round trip to the database is made in a worker thread.

    Raises:
        BudgetExceeded: a budget refuses the call.
    """
    admission = Admission(attributes, body)
    if admission.needs_round_trip:
        try:
            await _in_worker_thread(admission.make_round_trip)
        except Exception as error:  # noqa: BLE001 - without a thread, the call goes on
            report("asking the budgets in a worker thread", type(error).__name__)
        except BaseException:
            # The app canceled the call.
            admission.abandon()
            raise
    return admission.result()


class Admission:
    """The answers of all budgets to one call.

    Args:
        attributes: the call's attributes at its start.
        body: the body of its request.
    """

    def __init__(self, attributes: CallAttributes, body: object) -> None:
        self._attributes = attributes
        self._characters = 0
        self._holds: list[Hold] = []
        self._refusal: Refusal | None = None
        self._waiting: BudgetGuard | None = None
        self._is_abandoned = False
        self._deciding = Lock()
        with Guard("measuring a request"):
            self._characters = input_characters(body, ENCODED_FILE_CHARACTERS)
        with Guard("asking the budgets of a run"):
            if chain := chain_in(context.get_current()):
                self._note(reserve_all(chain, attributes, self._characters))
        with Guard("asking the budgets of the ledger"):
            guard = SWITCH.guard
            if guard is not None and self._refusal is None:
                self._note(guard.try_reserve(attributes, self._characters), guard)

    @property
    def needs_round_trip(self) -> bool:
        """Whether the database must be asked."""
        return self._waiting is not None

    def make_round_trip(self) -> None:
        """Ask the database; it may block this thread. Never raises."""
        with Guard("asking the budgets of the ledger"):
            guard, self._waiting = self._waiting, None
            if guard is not None:
                self._note(guard.reserve(self._attributes, self._characters))

    def result(self) -> Hold | None:
        """What the budgets hold for the call; `None` if none holds anything.

        Raises:
            BudgetExceeded: a budget refuses the call.
        """
        if self._refusal is not None:
            self._release_all()
            raise BudgetExceeded(self._refusal)
        return Holds(tuple(self._holds)) if self._holds else None

    def abandon(self) -> None:
        """The call is not made: release what is reserved, and what is still to be reserved."""
        with self._deciding:
            self._is_abandoned = True
        self._release_all()

    def _note(
        self, answer: Hold | Refusal | RoundTrip | None, guard: BudgetGuard | None = None
    ) -> None:
        if answer is ROUND_TRIP:
            self._waiting = guard
        elif isinstance(answer, Refusal):
            self._refusal = answer
        elif answer is not None:
            with self._deciding:
                self._holds.append(answer)
                is_abandoned = self._is_abandoned
            if is_abandoned:
                self._release_all()

    def _release_all(self) -> None:
        with self._deciding:
            holds, self._holds = self._holds, []
        Holds(tuple(holds)).release()


class Holds:
    """The holds of several budgets, as one. A failure of one does not affect the others."""

    __slots__ = ("_holds",)

    def __init__(self, holds: tuple[Hold, ...]) -> None:
        self._holds = holds

    def bind(self, trace_id: int, span_id: int) -> None:
        """Bind each."""
        for hold in self._holds:
            with Guard("binding a call to its budgets"):
                hold.bind(trace_id, span_id)

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:
        """Finish each."""
        for hold in self._holds:
            with Guard("settling a call"):
                hold.finish(attributes, failed=failed)

    def release(self) -> None:
        """Release each."""
        for hold in self._holds:
            with Guard("releasing what a budget holds"):
                hold.release()


async def _in_worker_thread(work: Callable[[], None]) -> None:
    """Run work in a thread of the running event loop's library; a cancellation does not wait."""
    # Loaded here: only near a limit, and every SDK with an async client depends on it.
    from anyio import CapacityLimiter, to_thread

    limiter = _limiters().get(None)
    if limiter is None:
        limiter = CapacityLimiter(_MAX_THREADS)
        _limiters().set(limiter)
    run: Any = to_thread.run_sync
    is_new = "abandon_on_cancel" in inspect.signature(run).parameters
    await run(work, limiter=limiter, **{"abandon_on_cancel" if is_new else "cancellable": True})


@functools.cache
def _limiters() -> RunVar[CapacityLimiter | None]:
    """The limit of our threads in each event loop.

    The app's own threads may fill anyio's limit while they wait for this very call.
    """
    from anyio.lowlevel import RunVar

    return RunVar("tokenledger-round-trips")
