"""Quarantine: stores rows and records that the ledger cannot take, with the reason.

A row goes to `token_ledger_rejected` only if its own data is at fault. Other errors affect every
row, so the rows wait until the cause is fixed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from tokenledger_exporter.db.row_faults import is_row_fault
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpoolHeader

_SQL: Final = statements("store")


def quarantine_row(connection: psycopg.Connection[Any], row: LedgerRow, reason: str) -> None:
    """Quarantine a row that the ledger cannot take, in a transaction of its own.

    Args:
        connection: the ledger.
        row: the row, without ids of erased people.
        reason: why it is quarantined.
    """
    _add(connection, row.event_id, reason, row.as_json())


def quarantine_record(
    connection: psycopg.Connection[Any], payload: bytes, header: SpoolHeader, reason: str
) -> None:
    """Quarantine a record that is not a valid span, so that a later release may read it.

    Args:
        connection: the ledger.
        payload: the record's bytes.
        header: the header of its segment.
        reason: why it is quarantined.
    """
    document = {
        "record": payload.hex(),
        "format_version": header.format_version,
        "app_name": header.app_name,
        "environment": header.environment,
        "organization_id": header.organization,
    }
    digest = hashlib.blake2b(payload, digest_size=16).digest()
    _add(connection, UUID(bytes=digest), reason, json.dumps(document))


def _add(connection: psycopg.Connection[Any], event_id: UUID, reason: str, event: str) -> None:
    values = {"event_id": event_id, "reason": reason, "event": event}
    try:
        with connection.transaction():
            connection.execute(_SQL["add_rejected"], values)
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
        # The database's encoding lacks a character. As escaped text the row is plain ASCII, which
        # every encoding can store.
        plain = {"reason": ascii(reason)[1:-1], "event": json.dumps({"as_text": ascii(event)})}
        with connection.transaction():
            connection.execute(_SQL["add_rejected"], {**values, **plain})
