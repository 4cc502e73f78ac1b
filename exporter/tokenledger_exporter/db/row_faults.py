"""Whether a database error is the fault of one row, or of something that every row shares."""

from __future__ import annotations

from typing import Final

import psycopg

from tokenledger_exporter.errors import LedgerError

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
