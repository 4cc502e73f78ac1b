"""Our own failures: they never reach the app, are logged once per place, and are counted.

A log line names the place and the class of the error, never its text. The text of an error raised
while reading a response can contain a prompt, a completion or a key.
"""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

LOGGER: Final = logging.getLogger("tokenledger")

_counts: Final[Counter[str]] = Counter()
_warnings: Final[set[str]] = set()
_lock: Final = Lock()


def report(place: str, what: str) -> None:
    """Count one failure of ours; the first one of each place is logged.

    Args:
        place: which part of the instrumentation failed; one log line per place.
        what: the class of the error, or what was wrong with a value; never any content of a call.
    """
    if _count(place):
        LOGGER.warning(
            "tokenledger: %s failed (%s). The app's call is not affected. Further failures of this "
            "kind are only counted; see tokenledger.health()",
            place,
            what,
        )


def report_invalid(argument: str, problem: str) -> None:
    """Count an argument that was ignored; the first one of each name is logged.

    Args:
        argument: the function and its argument, such as `track_cost(input_tokens=)`.
        problem: what was expected, and the type of the value; never any content of a call.
    """
    if _count(argument):
        LOGGER.warning(
            "tokenledger: %s was ignored: %s. Further ones are only counted; see "
            "tokenledger.health()",
            argument,
            problem,
        )


def warn_once(text: str) -> None:
    """Log one line about how the app uses TokenLedger, the first time only. It is no failure."""
    with _lock:
        is_first = text not in _warnings
        _warnings.add(text)
    if is_first:
        LOGGER.warning("tokenledger: %s", text)


def _count(place: str) -> bool:
    """Whether it is the first failure of its place."""
    with _lock:
        _counts[place] += 1
        return _counts[place] == 1


def counts() -> dict[str, int]:
    """The number of failures so far, by place."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Forget all counts; the next failure of each place is logged again."""
    with _lock:
        _counts.clear()
        _warnings.clear()


class Guard:
    """Runs our code and catches its failure: `with Guard("reading a response"):`.

    Catches `Exception` only; a cancellation or an interrupt of the app passes through.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        report(self._place, type(error).__name__)
        return True
