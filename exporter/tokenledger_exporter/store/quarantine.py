"""Rows and records that cannot become rows of the ledger: whose fault it is, and where they go.

A row goes to `token_ledger_rejected` with the reason only for a fault of its own. Whatever else
fails, fails for every row, and its rows wait until it is mended.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from tokenledger_exporter.db.row_faults import is_a_rows_fault
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpoolHeader

_SQL: Final = statements("store")


def quarantine_row(connection: psycopg.Connection[Any], row: LedgerRow, reason: str) -> None:
    """Store a row that the ledger cannot take, with the reason, in a transaction of its own.

    Args:
        connection: the ledger.
        row: without the ids of erased people.
        reason: why.
    """
    _keep(connection, row.event_id, reason, row.as_json())


def quarantine_record(
    connection: psycopg.Connection[Any], payload: bytes, header: SpoolHeader, reason: str
) -> None:
    """Store a record that cannot be read as a span, so that a later release may read it.

    Args:
        connection: the ledger.
        payload: the record's bytes.
        header: whose it is.
        reason: why.
    """
    told = {
        "record": payload.hex(),
        "format_version": header.format_version,
        "app_name": header.app_name,
        "environment": header.environment,
        "organization_id": header.organization,
    }
    digest = hashlib.blake2b(payload, digest_size=16).digest()
    _keep(connection, UUID(bytes=digest), reason, json.dumps(told))


def _keep(connection: psycopg.Connection[Any], event_id: UUID, reason: str, event: str) -> None:
    values = {"event_id": event_id, "reason": reason, "event": event}
    try:
        with connection.transaction():
            connection.execute(_SQL["add_rejected"], values)
    except psycopg.Error as error:
        if not is_a_rows_fault(error):
            raise
        # A letter the database's encoding has not. As a text the row is plain ASCII, escapes and
        # all, which any encoding holds.
        plain = {"reason": ascii(reason)[1:-1], "event": json.dumps({"as_text": ascii(event)})}
        with connection.transaction():
            connection.execute(_SQL["add_rejected"], {**values, **plain})
