"""What a test can make the fake provider do with the next request, instead of answering it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.demo.wire import Event, JsonObject


@dataclass(frozen=True, slots=True)
class Use:
    """Answer as usual, with these counts: parts, or the vendor's whole usage object."""

    usage: JsonObject


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with the vendor's error of this HTTP status."""

    status: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection, before the answer or (streams) after this many events."""

    after_events: int | None = None


@dataclass(frozen=True, slots=True)
class FailStream:
    """Send the vendor's error event after this many events; a call without stream gets a 500."""

    after_events: int = 1


@dataclass(frozen=True, slots=True)
class Stall:
    """Answer as usual, but wait for `release()`: before it, or after this many events."""

    after_events: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let the answer go on."""
        self.released.set()

    def hold(self) -> None:
        """Tell `reached`, then wait for `release()`."""
        self.reached.set()
        self.released.wait()


@dataclass(frozen=True, slots=True)
class Recorded:
    """Send a recorded exchange unchanged: a JSON body, or the events of a stream."""

    body: JsonObject | None = None
    events: Sequence[Event] | None = None
    status: int = 200


Script: TypeAlias = Use | Refuse | Cut | FailStream | Stall | Recorded
"""Anything `DemoProvider.script` takes."""
