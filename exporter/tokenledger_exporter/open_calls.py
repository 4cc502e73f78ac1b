"""Calls that were sent and have not ended: each is known by its START record alone.

A START is a span record without an end, behind a mark no other record begins with. It is cancelled
by the END of the same span, and becomes an `unmeasured` row once its writer is dead and left no
END. One of a living writer is carried along from segment to segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


# 0xC1 begins nothing in msgpack (its specification, read 2026-11-25).
START_MARK: Final = b"\xc1S"
"""First bytes of the record of a call that was sent."""

CARRIED_MARK: Final = b"\xc1C"
"""The same record, copied from a segment that was deleted since."""

MAX_OPEN: Final = 50_000
"""Open calls a process keeps in mind, 200 bytes each; those beyond are known by their END only."""

_Owner = TypeVar("_Owner")


class _Identity(msgspec.Struct, frozen=True, array_like=True):
    """The first fields of a span record, which are read without the others."""

    trace_id: bytes
    span_id: int


_IDENTITY_DECODER: Final = msgspec.msgpack.Decoder(_Identity)


def is_start(payload: bytes) -> bool:
    """Whether a record tells only that a call was sent."""
    return payload.startswith((START_MARK, CARRIED_MARK))


class OpenCalls(Generic[_Owner]):
    """START records without their END, each with the segment that holds it."""

    def __init__(self) -> None:
        self._open: Final[dict[_Identity, tuple[bytes, _Owner]]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def note(self, starts: Iterable[bytes], owner: _Owner) -> None:
        """Take START records in; the carried copy of a call that has ended since is left out."""
        for payload in starts:
            identity = _identity(payload[len(START_MARK) :])
            if identity is None:
                continue
            is_new = len(self._open) < MAX_OPEN and not payload.startswith(CARRIED_MARK)
            if is_new or identity in self._open:
                self._open[identity] = (payload, owner)

    def adopt(self, starts: Iterable[bytes], owner: _Owner) -> None:
        """Take in START records, carried ones as well: their writer is dead."""
        self.note((START_MARK + payload[len(START_MARK) :] for payload in starts), owner)

    def end(self, payloads: Iterable[bytes]) -> None:
        """Forget the calls whose END these are."""
        if not self._open:
            return
        for payload in payloads:
            identity = _identity(payload)
            if identity is not None:
                self._open.pop(identity, None)

    def held_by(self, owner: _Owner) -> list[bytes]:
        """The START records of one segment."""
        return [payload for payload, found in self._open.values() if found is owner]

    def clear(self) -> None:
        """Forget every call."""
        self._open.clear()

    def all(self) -> list[tuple[bytes, _Owner]]:
        """Every START record with its segment."""
        return list(self._open.values())


def carried(start: bytes) -> bytes:
    """The record as it is copied into another segment."""
    return CARRIED_MARK + start[len(START_MARK) :]


def _identity(payload: bytes) -> _Identity | None:
    try:
        return _IDENTITY_DECODER.decode(payload)
    except msgspec.MsgspecError:
        return None
