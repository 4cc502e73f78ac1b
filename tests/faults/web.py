"""A web app: each request is one call, counted in a counter of its worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import tokenledger
from faults import apps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faults.counts import CallCounter

# Before the workers are forked, as with `gunicorn --preload`.
tokenledger.configure()
_counters: Final[dict[int, CallCounter]] = {}


def application(
    _environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Make one call."""
    counting = _counters.get(os.getpid()) or _counters.setdefault(os.getpid(), apps.counter())
    apps.make_calls(1, counting=counting)
    worker = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(worker)))])
    return [worker]
