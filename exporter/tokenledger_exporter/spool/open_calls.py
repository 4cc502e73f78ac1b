"""Open calls: calls that were sent and have not ended, known only by their START records.

A START is a span record without an end, after a mark that no other record begins with. The END
record of the same span cancels it. If the writing process dies before the END, the START becomes
an `unmeasured` row. While the process lives, STARTs are copied from old segments to newer ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


# No msgpack value begins with 0xC1 (msgpack specification, read 2026-11-25).
START_MARK: Final = b"\xc1S"
"""First bytes of the record of a call that was sent."""

COPIED_START_MARK: Final = b"\xc1C"
"""First bytes of a START that was copied from a deleted segment."""

MAX_OPEN: Final = 200_000
"""Open calls that a process tracks, about 300 bytes each. Calls above the limit are recorded when
they end."""

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


class _SegmentStarts:
    """The open calls of one segment: identity -> (offset, length); `bytes` is their sum."""

    __slots__ = ("bytes", "places")

    def __init__(self) -> None:
        self.places: Final[dict[_Identity, tuple[int, int]]] = {}
        self.bytes = 0


_IDENTITY_DECODER: Final = msgspec.msgpack.Decoder(_Identity)


def is_start(payload: bytes) -> bool:
    """Whether a record is a START: it says only that a call was sent."""
    return payload.startswith((START_MARK, COPIED_START_MARK))


class OpenCalls(Generic[_Owner]):
    """Which calls have a START and no END yet, and which segment holds each START.

    The records themselves stay in their segments. The cost of a question about one segment depends
    only on that segment, not on how many calls are open in others.
    """

    def __init__(self) -> None:
        self._owners: Final[dict[_Identity, _Owner]] = {}
        self._starts: Final[dict[_Owner, _SegmentStarts]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def note(self, starts: Iterable[Start], owner: _Owner) -> None:
        """Add START records; a copy of a START whose call has ended meanwhile is ignored."""
        for start in starts:
            identity = _identity(span_of(start.payload))
            if identity is None:
                continue
            if identity in self._owners:
                self._drop(identity)
            elif len(self._owners) >= MAX_OPEN or start.payload.startswith(COPIED_START_MARK):
                continue
            self._add(identity, start, owner)

    def adopt(self, starts: Iterable[Start], owner: _Owner) -> list[bytes]:
        """Add START records of a dead process, copied ones as well.

        Returns:
            The records above MAX_OPEN, which the caller writes at once.
        """
        overflow: list[bytes] = []
        for start in starts:
            identity = _identity(span_of(start.payload))
            if identity is None:
                continue
            if identity in self._owners:
                self._drop(identity)
            elif len(self._owners) >= MAX_OPEN:
                overflow.append(start.payload)
                continue
            self._add(identity, start, owner)
        return overflow

    def end(self, payloads: Iterable[bytes]) -> None:
        """Remove the calls that these END records belong to."""
        if not self._owners:
            return
        for payload in payloads:
            identity = _identity(payload)
            if identity is not None and identity in self._owners:
                self._drop(identity)

    def places(self, owner: _Owner) -> list[tuple[int, int]]:
        """Offset and length of the START records that one segment holds."""
        starts = self._starts.get(owner)
        return list(starts.places.values()) if starts else []

    def bytes_of(self, owner: _Owner) -> int:
        """How many bytes of one segment are START records of open calls."""
        starts = self._starts.get(owner)
        return starts.bytes if starts else 0

    def owners(self) -> list[_Owner]:
        """Every segment that holds an open call."""
        return list(self._starts)

    def clear(self) -> None:
        """Remove every call."""
        self._owners.clear()
        self._starts.clear()

    def _add(self, identity: _Identity, start: Start, owner: _Owner) -> None:
        starts = self._starts.get(owner)
        if starts is None:
            starts = self._starts[owner] = _SegmentStarts()
        length = len(start.payload)
        starts.places[identity] = (start.at, length)
        starts.bytes += length
        self._owners[identity] = owner

    def _drop(self, identity: _Identity) -> None:
        owner = self._owners.pop(identity)
        starts = self._starts[owner]
        starts.bytes -= starts.places.pop(identity)[1]
        if not starts.places:
            del self._starts[owner]


def span_of(start: bytes) -> bytes:
    """The span record inside a START."""
    return start[len(START_MARK) :]


def as_copied_start(start: bytes) -> bytes:
    """The record in the form that is copied into another segment."""
    return COPIED_START_MARK + span_of(start)


def _identity(payload: bytes) -> _Identity | None:
    try:
        return _IDENTITY_DECODER.decode(payload)
    except msgspec.MsgspecError:
        return None
