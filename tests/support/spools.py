"""Reads the records of a spool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.spool.codec import FORMAT_VERSION

if TYPE_CHECKING:
    from tokenledger_exporter.spool.spool import Spool

HEADER = SpoolHeader(format_version=FORMAT_VERSION, ledger="test", app_name="shop")


def waiting(spool: Spool, limit: int = 10) -> list[bytes]:
    """The records of this process; they are removed as they are read."""
    payloads: list[bytes] = []
    for batch in spool.own_batches(limit):
        assert len(batch.payloads) <= limit
        payloads += batch.payloads
        batch.forget()
    return payloads


def recovered(spool: Spool) -> list[bytes]:
    """The records of dead processes."""
    return [payload for batch in spool.recovered_batches(7) for payload in batch.payloads]
