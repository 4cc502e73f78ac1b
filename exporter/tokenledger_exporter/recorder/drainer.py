"""Moves records from the spool to the ledger: read, price, write, and forget only after COMMIT.

There is one background thread per process. While the database is unreachable, the records stay in
the spool, the reason is logged once, and the thread retries with growing pauses.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.row_faults import SHARED_FAULTS
from tokenledger_exporter.dialects.operations import described
from tokenledger_exporter.errors import LedgerError, RowsRefusedError, SchemaError
from tokenledger_exporter.log import fail, warn
from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import PriceBook, plain_usd
from tokenledger_exporter.rating.build_rows import build_rows, unmeasured
from tokenledger_exporter.recorder.circuit_breaker import CircuitBreaker
from tokenledger_exporter.recorder.drain_state import DrainState
from tokenledger_exporter.recorder.second_reports import SecondReports
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_exporter.spool.open_calls import is_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
    from tokenledger_exporter.recorder.budgets.guard import LeaseGuard
    from tokenledger_exporter.spool.spool import Spool
    from tokenledger_exporter.spool.stats import Batch
    from tokenledger_semconv.settings import Settings

_RECOVER_SECONDS: Final = 30.0
# Building a row takes about 0.1 ms of pure Python. Another thread that wants to run, such as an
# event loop that returns from a system call, waits for the interpreter's switch interval of 5 ms.
# So this thread sleeps for the shortest possible time after every few rows.
_ROWS_BETWEEN_PAUSES: Final = 8
_PAUSE_SECONDS: Final = 20e-6
_MAX_BOOKS: Final = 256
_MAX_REFUSALS: Final = 7
_FOREVER: Final = 1e6


class Drainer:
    """The background thread and its wake-ups.

    `known_prices` holds the ledger's price books by provider, as they were last read here.

    Invariant, under `_wake`: `_last_request` counts requests to drain now, and `_finished_request`
    is the number of the last request that came before an attempt that has ended. So a waiter is
    done when `_finished_request` has reached its request.
    """

    def __init__(
        self,
        spool: Spool,
        writer: MaintainingWriter,
        settings: Settings,
        guard: LeaseGuard,
    ) -> None:
        self.state: Final = DrainState()
        self.known_prices: Final[dict[str, PriceBook]] = {}
        self._spool: Final = spool
        self._writer: Final = writer
        self._settings: Final = settings
        self._guard: Final = guard
        self._batch_size: Final = settings.batch_size
        self._second_reports: Final = SecondReports()
        self._refusals = 0
        self._announced = 0
        self._losses_written = 0
        self.breaker: Final = CircuitBreaker(settings)
        self._next_recovery = 0.0
        self._stopping = False
        self._is_exiting = False
        self._full_batch_noticed = False
        self._reset()

    def notice(self, number: int) -> None:
        """Note an appended record: start the thread if needed, wake it when a batch is full."""
        if self._thread is None:
            self._start()
        if (
            not self._full_batch_noticed
            and number - self._spool.committed_records >= self._batch_size
            and not self.breaker.failures
        ):
            # Once per attempt: while one runs, waking the thread for every call has no effect.
            self._full_batch_noticed = True
            self._request()

    @property
    def is_pausing(self) -> bool:
        """Whether the last attempt failed or hangs, so that other calls do not wait for it."""
        return self.breaker.failures > 0 or self._attempt_overdue

    def start(self) -> None:
        """Start the thread, or wake it, so that it checks the budgets now."""
        if self._thread is None:
            self._start()
        else:
            self._request()

    def drain_now(self, timeout_seconds: float) -> int:
        """Request one attempt and wait for its end; returns the rows committed meanwhile."""
        before = self.state.committed_rows
        if self._thread is None:
            self._start()
        deadline = time.monotonic() + timeout_seconds
        with self._wake:
            self._has_waiter = True
            request = self._request()
            in_time = self._wake.wait_for(
                lambda: self._finished_request >= request or self._stopping,
                max(0.0, deadline - time.monotonic()),
            )
        self._attempt_overdue = not in_time
        return self.state.committed_rows - before

    def stop(self, timeout_seconds: float, *, ends_process: bool = False) -> None:
        """Let the thread make a last attempt and wait for it; safe to call twice."""
        thread = self._thread
        self._is_exiting = ends_process
        with self._wake:
            self._stopping = True
            self._last_request += 1
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def after_fork(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last_request = self._finished_request = 0
        self._has_waiter = self._attempt_overdue = False
        self._full_batch_noticed = False

    def _start(self) -> None:
        # If the lock is taken, a thread is being started already, possibly further down this very
        # stack, where garbage collection ended a call.
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name="tokenledger-drain", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError as error:
            # No thread can be started now: the interpreter is exiting, or the system is out of
            # threads. The record is in the spool; the next call or process writes it.
            self.state.last_error = f"the writer thread could not be started: {error}"
        finally:
            self._start_lock.release()

    def _request(self) -> int:
        with self._wake:
            self._last_request += 1
            self._wake.notify_all()
            return self._last_request

    def _run(self) -> None:
        due_at = time.monotonic() + self._pause
        while True:
            if self._guard.seconds_to_check == 0 and not self.breaker.failures:
                self._check_budgets()
            with self._wake:
                is_requested = self._wake.wait_for(
                    lambda: self._last_request > self._finished_request,
                    min(self._guard.seconds_to_check or _FOREVER, due_at - time.monotonic()),
                )
                if not is_requested and time.monotonic() < due_at:
                    continue
                self._full_batch_noticed = False
                request, last = self._last_request, self._stopping
                is_awaited, self._has_waiter = self._has_waiter or last, False
            self._attempt(is_awaited=is_awaited, last=last)
            with self._wake:
                self._finished_request = request
                self._attempt_overdue = False
                self._wake.notify_all()
            if last:
                self._give_back_leases()
                self._writer.close()
                return
            due_at = time.monotonic() + self._pause

    @property
    def _pause(self) -> float:
        return self.breaker.pause_seconds or self._settings.flush_interval_seconds

    def _check_budgets(self) -> None:
        """Look for changed budgets. A failure is reported by the next write, which fails too."""
        try:
            self._guard.check(self._writer, has_waiting=bool(self._spool.waiting))
        except LedgerError:
            self._guard.note_failed_check()
        except Exception as error:  # noqa: BLE001 - the thread must survive
            self._note_failure(f"unexpected {type(error).__name__} while checking budgets")

    def _give_back_leases(self) -> None:
        try:
            self._guard.close(self._writer)
        except Exception as error:  # noqa: BLE001 - the process is exiting; its leases expire
            self._note_failure(f"{type(error).__name__} while giving back what budgets had leased")

    def _attempt(self, *, is_awaited: bool, last: bool) -> None:
        """Write all waiting records, of this process and of dead ones. Never raises.

        Args:
            is_awaited: a caller waits for this attempt, so recovery of dead processes is due now.
            last: this process is exiting, so its open calls are written as they are.
        """
        self.breaker.is_attempting = True
        try:
            self._spool.refresh_usage()
            for batch in self._spool.own_batches(self._batch_size << self._refusals):
                self._write(batch, own=True)
                self._refusals = 0
            if last and self._is_exiting:
                for batch in self._spool.reader.open_batches(self._batch_size):
                    self._write(batch, own=False)
            self._recover(is_awaited=is_awaited)
            self._write_losses()
            self._writer.deduplicate()
            # Callers wait for rows, not for roll-ups: reports are exact without them.
            if not (is_awaited or last):
                self._writer.refresh_rollups()
        except LedgerError as error:
            if isinstance(error, RowsRefusedError):
                # A larger batch shows whether these rows are at fault, or the database.
                self._refusals = min(self._refusals + 1, _MAX_REFUSALS)
            self._note_failure(str(error))
        except Exception as error:  # noqa: BLE001 - the thread must survive; records stay spooled
            self._note_failure(f"unexpected {type(error).__name__} while writing the ledger")
        else:
            if self.state.last_error:
                warn("ledger_back", "the ledger is reachable again", failures=self.breaker.failures)
            self.state.last_error = ""
            self.breaker.note_success()
        finally:
            self.breaker.is_attempting = False

    def _recover(self, *, is_awaited: bool) -> None:
        if not is_awaited and time.monotonic() < self._next_recovery:
            return
        recovered = self._writer.release_reservations
        for batch in self._spool.recovered_batches(self._batch_size, recovered):
            self._write(batch, own=False)
        self._next_recovery = time.monotonic() + _RECOVER_SECONDS

    def _write(self, batch: Batch, *, own: bool) -> None:
        if own and self._settings.debug:
            self._announce(batch)
        rows = self._rows(batch, self._prices_of)
        if rows:
            self.state.rejected += self._writer.write(rows).rejected
            self.state.last_commit_at = datetime.now(timezone.utc)
        batch.forget()
        self.state.committed_rows += len(rows)

    def _prices_of(self, provider: str) -> PriceBook:
        try:
            book = self._writer.prices_of(provider)
        except LedgerError:
            raise
        except Exception as error:
            # This is not the record's fault: it waits until prices can be read.
            raise SchemaError(
                f"the prices of provider {provider!r} cannot be read "
                f"({type(error).__name__}): run 'tokenledger doctor'"
            ) from error
        if provider in self.known_prices or len(self.known_prices) < _MAX_BOOKS:
            self.known_prices[provider] = book
        return book

    def _rows(
        self, batch: Batch, prices_of: Callable[[str], PriceBook], *, is_preview: bool = False
    ) -> list[LedgerRow]:
        """The rows of a batch; except in a preview, records without rows are counted or stored."""
        rows: list[LedgerRow] = []
        for number, payload in enumerate(batch.payloads, start=1):
            if not (number % _ROWS_BETWEEN_PAUSES or self._stopping):
                time.sleep(_PAUSE_SECONDS)
            try:
                built = build_rows(decode_record(payload), batch.header, prices_of)
            except SHARED_FAULTS:
                raise
            except Exception as error:  # noqa: BLE001 - one record must not block those after it
                if not is_preview:
                    self._quarantine(payload, batch.header, type(error).__name__)
            else:
                rows += map(unmeasured, built) if is_start(payload) else self._first_report(built)
                if not built and not is_preview:
                    self._note_dropped(payload)
        return rows

    def _first_report(self, built: list[LedgerRow]) -> list[LedgerRow]:
        """The rows of a record, unless it is the second report of a call."""
        return [] if built and self._second_reports.is_second(built[0]) else built

    def _quarantine(self, payload: bytes, header: SpoolHeader, kind: str) -> None:
        """Quarantine an unreadable record in the ledger, for an operator or a later release."""
        reason = f"the record cannot be read ({kind})"
        if not self.state.unreadable:
            fail("record_unreadable", f"{reason}; it is in token_ledger_rejected", error=kind)
        self._writer.quarantine_record(payload, header, reason)
        self.state.unreadable += 1

    def _note_dropped(self, payload: bytes) -> None:
        self.state.dropped += 1
        self.state.dropped_example = described(decode_record(payload))

    def _write_losses(self) -> None:
        """Write counted losses into the ledger, so that a report can show them."""
        state = self._spool.state
        lost = state.lost
        if lost > self._losses_written:
            reason = "the spool was full, damaged or unreadable"
            app_name = self._spool.header.app_name
            self._writer.count_loss(app_name, reason, lost - self._losses_written)
            self._losses_written = lost

    def _note_failure(self, reason: str) -> None:
        self.state.failures += 1
        self.breaker.note_failure()
        if reason != self.state.last_error:
            waiting = self._spool.waiting
            message = f"{reason}; calls waiting in the spool: {waiting}"
            warn("ledger_unreachable", message, waiting=waiting, reason=reason)
        self.state.last_error = reason

    def _announce(self, batch: Batch) -> None:
        """Print one line per call; with the package's prices if the ledger is unreachable."""
        first = self._spool.committed_records
        try:
            rows = self._rows(batch, self._prices_of, is_preview=True)
        except LedgerError:
            rows = self._rows(batch, lambda _provider: package_prices(), is_preview=True)
        for number, row in enumerate(rows, start=first + 1):
            if number > self._announced:
                self._announced = number
                # Standard error may be closed; the row matters more than its line.
                with contextlib.suppress(OSError, ValueError):
                    print(debug_line(row), file=sys.stderr)  # noqa: T201 - what debug=True asks for


@cache
def package_prices() -> PriceBook:
    """The price book of the installed `genai-prices` package; the first call takes a second."""
    # 30,000 lines of price data: only an app that prices calls without its database loads them.
    from tokenledger_exporter.pricing.catalog.genai_prices import package_rows  # noqa: PLC0415

    return PriceBook(package_rows())


def debug_line(row: LedgerRow) -> str:
    """The line that `debug=True` prints for a call."""
    known = f"${plain_usd(row.cost_usd)}" if row.cost_usd is not None else f"{row.cost_status}"
    why = f" ({row.cost_note})" if row.cost_note else ""
    tokens = f"{_count(row.input_tokens)} in, {_count(row.output_tokens)} out"
    who = f"user={row.user_id or '-'} feature={row.feature or '-'}"
    took = "? ms" if row.duration_ms is None else f"{row.duration_ms:.0f} ms"
    return visible(f"tokenledger: {row.model}: {tokens}, {known}{why}, {took}, {who}")


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
