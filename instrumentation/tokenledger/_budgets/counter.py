"""What one run budget has spent and reserved: a small locked file that its processes share.

The file holds one line of JSON: what is spent, and what each process has reserved. A process that
dies leaves its reservations; they become spent, since their requests were sent. In a process, any
number of threads share one counter.
"""

from __future__ import annotations

import json
import os
import weakref
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Context, Decimal
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

try:
    import fcntl
except ImportError:  # Windows: its processes do not share a budget.
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from typing_extensions import Self

T = TypeVar("T")
MONEY: Final = Context(prec=50)
"""Our own: an app that changes the global context does not change sums."""

CAN_SHARE: Final = fcntl is not None
"""Whether processes can share a counter on this system."""

_NOTHING: Final = Decimal(0)
_MAX_BYTES: Final = 1 << 20
# Reserved on the disk when the file is made, so that a full disk is noticed then.
_FIRST_BYTES: Final = 4_096
# Do not follow a link; not inherited by programs that this process starts.
_FLAGS: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class CounterUnavailableError(RuntimeError):
    """This process cannot open the counter's file."""

    def __init__(self) -> None:
        super().__init__(f"the budget's file cannot be opened in process {os.getpid()}")


@dataclass(slots=True)
class Totals:
    """US dollars that are spent, and US dollars that each process has reserved, by its id."""

    spent: Decimal = _NOTHING
    reserved: dict[str, Decimal] = field(default_factory=dict[str, Decimal])

    @property
    def all_reserved(self) -> Decimal:
        """US dollars that all processes have reserved."""
        total = _NOTHING
        for amount in self.reserved.values():
            total = MONEY.add(total, amount)
        return total

    def reserve(self, process: int, amount: Decimal) -> None:
        """Reserve an amount; a negative one frees it."""
        left = MONEY.add(self.reserved.get(str(process), _NOTHING), amount)
        if left > 0:
            self.reserved[str(process)] = left
        else:
            self.reserved.pop(str(process), None)

    def spend(self, amount: Decimal) -> None:
        """Add an amount to what is spent."""
        self.spent = MONEY.add(self.spent, amount)

    def close_dead(self) -> None:
        """Spend what processes that no longer run have reserved."""
        for process in list(self.reserved):
            if not _is_running(int(process)):
                self.spend(self.reserved.pop(process))

    def encode(self) -> bytes:
        """As a line of JSON."""
        reserved = {process: str(amount) for process, amount in self.reserved.items()}
        return json.dumps({"spent": str(self.spent), "reserved": reserved}).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read a line of JSON."""
        fields = json.loads(line.partition(b"\n")[0])
        reserved = {process: Decimal(text) for process, text in fields["reserved"].items()}
        return cls(Decimal(fields["spent"]), reserved)


class Counter:
    """The totals of one run budget, in a file or, if there is none, in memory.

    Args:
        path: the file, which exists; `None` counts in memory.
        spent: US dollars that are spent already, of one in memory.
    """

    def __init__(self, path: Path | None, spent: Decimal = _NOTHING) -> None:
        self.path: Final = path
        self._totals: Final = Totals(spent)
        self._file: int | None = None
        self._is_lost = False
        self._close: weakref.finalize[[int], Counter] | None = None
        # Calls that ended and are not in the totals yet: process, estimate, cost.
        self._ended: Final[deque[tuple[int, Decimal, Decimal]]] = deque()
        self._lock = Lock()
        if path is not None:
            self._open(path)
        _counters.add(self)

    @classmethod
    def create(cls, path: Path, spent: Decimal) -> Self:
        """Make the file, which must not exist.

        Raises:
            OSError: it cannot be made.
        """
        line = Totals(spent).encode()
        file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.pwrite(file, line.ljust(_FIRST_BYTES), 0)
        finally:
            os.close(file)
        return cls(path)

    def change(self, apply: Callable[[Totals], T]) -> T:
        """Read and change the totals in one step, for all threads and processes.

        Raises:
            CounterUnavailableError: this process cannot open the file.
            OSError: the file cannot be read or written.
        """
        with self._lock:
            result = self._apply(apply)
        self._add_ended()
        return result

    def settle(self, process: int, estimate: Decimal, cost: Decimal) -> None:
        """Replace a reservation by what the call cost.

        It waits for no lock that this thread may hold already: a garbage collection may end a call
        while `change` runs, which then adds it.
        """
        self._ended.append((process, estimate, cost))
        self._add_ended()

    def remove_file(self) -> None:
        """Remove the file's name; processes that have opened it go on using it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def after_fork(self) -> None:
        """In a forked child: open the file again, since a lock belongs to both processes."""
        self._lock = Lock()
        self._ended.clear()
        if self._close is not None:
            self._close()
        if self.path is None:
            self._is_lost = True
        else:
            self._open(self.path)

    def _open(self, path: Path) -> None:
        self._is_lost = False
        try:
            file = self._file = os.open(path, _FLAGS)
        except OSError:
            self._is_lost = True
        else:
            self._close = weakref.finalize(self, os.close, file)
            self._close.atexit = False

    def _add_ended(self) -> None:
        while self._ended and self._lock.acquire(blocking=False):
            try:
                self._apply(lambda _totals: None)
            finally:
                self._lock.release()

    def _apply(self, apply: Callable[[Totals], T]) -> T:
        """Change the totals while the lock is ours, by the calls that ended too."""
        with self._locked_totals() as totals:
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            for process, estimate, cost in ended:
                totals.reserve(process, estimate.copy_negate())
                totals.spend(cost)
            return apply(totals)

    @contextmanager
    def _locked_totals(self) -> Generator[Totals]:
        if self._is_lost:
            self._ended.clear()
            raise CounterUnavailableError
        if self._file is None or fcntl is None:
            yield self._totals
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            totals = Totals.decode(os.pread(self._file, _MAX_BYTES, 0))
            totals.close_dead()
            yield totals
            os.pwrite(self._file, totals.encode(), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # It runs as another user.
        return True
    return True


def _fork_all() -> None:
    for counter in list(_counters):
        counter.after_fork()


_counters: Final[weakref.WeakSet[Counter]] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
