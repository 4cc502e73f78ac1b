"""Whether a database error is the fault of one row, or of something that every row shares."""

from __future__ import annotations

from typing import Final

import psycopg

from tokenledger_exporter.errors import LedgerError

# Classes of SQLSTATE (https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-28).
# Faults of a row's data: data exception, WITH CHECK OPTION, program limit exceeded.
_ROW_CLASSES: Final = frozenset({"22", "44", "54"})


# The ledger's own constraints, from the migrations. A constraint that was added manually may be one
# that no row can meet.
_OWN_CONSTRAINTS: Final = frozenset(
    {
        *("cost_status_is_known", "cost_usd_and_cost_status_agree", "status_is_known"),
        *("costs_are_finite_and_not_negative", "tokens_are_not_negative"),
        *("lengths_are_not_negative", "reported_cost_is_finite_and_not_negative"),
        *("details_are_an_object", "metadata_is_an_object", "counts_are_plausible"),
        *("names_are_short", "times_are_plausible"),
    }
)


# Never a row's fault: connections, transactions, privileges, schemas, resources, the system.
_SHARED_CLASSES: Final = frozenset(
    {
        *("08", "0P", "25", "26", "28", "2B", "2D", "34", "3B", "3D", "3F", "40", "42"),
        *("53", "55", "57", "58", "72", "F0", "HV"),
    }
)


SHARED_FAULTS: Final = (LedgerError, MemoryError, ImportError, OSError)
"""Errors that affect every row alike: the ledger or the process lacks something."""


def is_row_fault(error: Exception) -> bool:
    """Whether a row's data causes the error: the same row fails again, others do not."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # Raised before anything was sent: a value that does not fit its column.
        return isinstance(error, psycopg.DataError)
    is_own_constraint = error.diag.constraint_name in _OWN_CONSTRAINTS
    return error.sqlstate[:2] in _ROW_CLASSES or (error.sqlstate[:2] == "23" and is_own_constraint)


def may_be_row_fault(error: Exception) -> bool:
    """Whether a row may have caused the error, so that other rows may be stored.

    Examples are an exception in a user's trigger, an internal error of the database, and a bug of
    ours.
    """
    if isinstance(error, SHARED_FAULTS):
        return False
    if not isinstance(error, psycopg.Error) or is_row_fault(error):
        return True
    return error.sqlstate is not None and error.sqlstate[:2] not in _SHARED_CLASSES


def reason_of(error: Exception) -> str:
    """The reason for a quarantined row: the database's message, or the type of the error."""
    message = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return message or type(error).__name__
