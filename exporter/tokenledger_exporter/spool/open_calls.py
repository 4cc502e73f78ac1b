"""Calls that were sent and have not ended: each is known by its START record alone.

A START is a span record without an end, behind a mark no other record begins with. It is cancelled
by the END of the same span, and becomes an `unmeasured` row once its writer is dead and left no
END. One of a living writer is carried along from segment to segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


# 0xC1 begins nothing in msgpack (its specification, read 2026-11-25).
START_MARK: Final = b"\xc1S"
"""First bytes of the record of a call that was sent."""

CARRIED_MARK: Final = b"\xc1C"
"""The same record, copied from a segment that was deleted since."""

MAX_OPEN: Final = 200_000
"""Open calls a process keeps track of, about 300 bytes each; those beyond are known by their END
only."""

_Owner = TypeVar("_Owner")


class Start(NamedTuple):
    """A START record and where its segment holds it.

    Args:
        payload: the record.
        at: offset of the payload in its segment.
    """

    payload: bytes
    at: int


class _Identity(msgspec.Struct, frozen=True, array_like=True):
    """The first fields of a span record, which are read without the others."""

    trace_id: bytes
    span_id: int


class _Held:
    """The open calls of one segment: identity -> (offset, length); `bytes` is their sum."""

    __slots__ = ("bytes", "places")

    def __init__(self) -> None:
        self.places: Final[dict[_Identity, tuple[int, int]]] = {}
        self.bytes = 0


_IDENTITY_DECODER: Final = msgspec.msgpack.Decoder(_Identity)


def is_start(payload: bytes) -> bool:
    """Whether a record tells only that a call was sent."""
    return payload.startswith((START_MARK, CARRIED_MARK))


class OpenCalls(Generic[_Owner]):
    """Which calls have a START and no END yet, and which segment holds each START.

    The records themselves stay in their segments. Every question about one segment costs as much
    as that segment holds, however many calls are open elsewhere.
    """

    def __init__(self) -> None:
        self._owners: Final[dict[_Identity, _Owner]] = {}
        self._held: Final[dict[_Owner, _Held]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def note(self, starts: Iterable[Start], owner: _Owner) -> None:
        """Take START records in; the carried copy of a call that has ended since is left out."""
        for start in starts:
            identity = _identity(span_of(start.payload))
            if identity is None:
                continue
            if identity in self._owners:
                self._drop(identity)
            elif len(self._owners) >= MAX_OPEN or start.payload.startswith(CARRIED_MARK):
                continue
            self._add(identity, start, owner)

    def adopt(self, starts: Iterable[Start], owner: _Owner) -> list[bytes]:
        """Take in START records of a dead writer, carried ones as well.

        Returns:
            The records beyond MAX_OPEN, for the caller to write at once.
        """
        beyond: list[bytes] = []
        for start in starts:
            identity = _identity(span_of(start.payload))
            if identity is None:
                continue
            if identity in self._owners:
                self._drop(identity)
            elif len(self._owners) >= MAX_OPEN:
                beyond.append(start.payload)
                continue
            self._add(identity, start, owner)
        return beyond

    def end(self, payloads: Iterable[bytes]) -> None:
        """Forget the calls whose END these are."""
        if not self._owners:
            return
        for payload in payloads:
            identity = _identity(payload)
            if identity is not None and identity in self._owners:
                self._drop(identity)

    def places(self, owner: _Owner) -> list[tuple[int, int]]:
        """Offset and length of the START records that one segment holds."""
        held = self._held.get(owner)
        return list(held.places.values()) if held else []

    def bytes_of(self, owner: _Owner) -> int:
        """How many bytes of one segment are START records of open calls; 0 if none is."""
        held = self._held.get(owner)
        return held.bytes if held else 0

    def owners(self) -> list[_Owner]:
        """Every segment that holds an open call."""
        return list(self._held)

    def clear(self) -> None:
        """Forget every call."""
        self._owners.clear()
        self._held.clear()

    def _add(self, identity: _Identity, start: Start, owner: _Owner) -> None:
        held = self._held.get(owner)
        if held is None:
            held = self._held[owner] = _Held()
        length = len(start.payload)
        held.places[identity] = (start.at, length)
        held.bytes += length
        self._owners[identity] = owner

    def _drop(self, identity: _Identity) -> None:
        owner = self._owners.pop(identity)
        held = self._held[owner]
        held.bytes -= held.places.pop(identity)[1]
        if not held.places:
            del self._held[owner]


def span_of(start: bytes) -> bytes:
    """The span record that a START is."""
    return start[len(START_MARK) :]


def carried(start: bytes) -> bytes:
    """The record as it is copied into another segment."""
    return CARRIED_MARK + span_of(start)


def _identity(payload: bytes) -> _Identity | None:
    try:
        return _IDENTITY_DECODER.decode(payload)
    except msgspec.MsgspecError:
        return None
