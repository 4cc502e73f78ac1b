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

from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.rating.build_rows import LedgerRow

_SQL: Final = statements("write")

# Classes of SQLSTATE (https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-28).
# What a statement's own data can cause: data exception, WITH CHECK OPTION, program limit exceeded.
_OF_A_ROW: Final = frozenset({"22", "44", "54"})
# The ledger's own constraints, by the migrations that make them: every row is held to them. One
# that somebody added may be one that no row meets.
_OWN_CONSTRAINTS: Final = frozenset(
    {
        *("cost_status_is_known", "cost_usd_and_cost_status_agree", "status_is_known"),
        *("costs_are_finite_and_not_negative", "tokens_are_not_negative"),
        *("lengths_are_not_negative", "reported_cost_is_finite_and_not_negative"),
        *("details_are_an_object", "metadata_is_an_object", "counts_are_plausible"),
        *("names_are_short", "times_are_plausible"),
    }
)
# What no row causes: connections, transactions, privileges, schemas, resources, operators, systems.
_OF_NO_ROW: Final = frozenset(
    {
        *("08", "0P", "25", "26", "28", "2B", "2D", "34", "3B", "3D", "3F", "40", "42"),
        *("53", "55", "57", "58", "72", "F0", "HV"),
    }
)


NO_ROWS: Final = (LedgerError, MemoryError, ImportError, OSError)
"""What fails for every row and record alike: the ledger, or the process, is short of something."""


def is_a_rows_fault(error: Exception) -> bool:
    """Whether an error comes from the data of a row: the same row fails again, another does not."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # Raised before anything was sent: a value that its column has no form for.
        return isinstance(error, psycopg.DataError)
    own = error.diag.constraint_name in _OWN_CONSTRAINTS
    return error.sqlstate[:2] in _OF_A_ROW or (error.sqlstate[:2] == "23" and own)


def may_be_a_rows_fault(error: Exception) -> bool:
    """Whether a row can have caused an error: then others beside it can be stored.

    An exception of somebody's trigger, an internal error of the database, a fault of our own code.
    """
    if isinstance(error, NO_ROWS):
        return False
    if not isinstance(error, psycopg.Error) or is_a_rows_fault(error):
        return True
    return error.sqlstate is not None and error.sqlstate[:2] not in _OF_NO_ROW


def reason_of(error: Exception) -> str:
    """Why a row was set aside: the database's words, or the kind of error."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return said or type(error).__name__


def keep_row(connection: psycopg.Connection[Any], row: LedgerRow, reason: str) -> None:
    """Store a row that the ledger cannot take, with the reason, in a transaction of its own.

    Args:
        connection: the ledger.
        row: without the ids of erased people.
        reason: why.
    """
    _keep(connection, row.event_id, reason, row.as_json())


def keep_record(
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
            connection.execute(_SQL["keep_rejected"], values)
    except psycopg.Error as error:
        if not is_a_rows_fault(error):
            raise
        # A letter the database's encoding has not. As a text the row is plain ASCII, escapes and
        # all, which any encoding holds.
        plain = {"reason": ascii(reason)[1:-1], "event": json.dumps({"as_text": ascii(event)})}
        with connection.transaction():
            connection.execute(_SQL["keep_rejected"], {**values, **plain})
