"""The exporter's exceptions.

    LedgerError
    +-- DatabaseUnreachableError  no connection; rows wait in the spool
    |   +-- DatabaseUrlError      the connection string cannot be right
    +-- RowsRefusedError          the database refuses all rows of a batch; the rows wait
    +-- SchemaError               the ledger's tables are missing, older, newer or changed
    +-- EmbeddedPostgresError     the bundled Postgres is missing or does not start
    +-- InvalidRequestError       an argument is invalid; the message names it and the remedy

A message says what happened, to what, and what to do. None contains a connection string.
"""


class LedgerError(Exception):
    """Base class of the ledger's errors."""

    is_safe_to_log = True
    """Its text has no secret; `tokenledger` asks for this, because it cannot import the class."""


class DatabaseUnreachableError(LedgerError):
    """Postgres cannot be reached."""


class DatabaseUrlError(DatabaseUnreachableError):
    """The connection string is malformed; the message says which part, without secrets."""


class SchemaError(LedgerError):
    """The database does not have the schema of this release."""


class RowsRefusedError(LedgerError):
    """The database refuses all rows of a batch; the rows or the database may be at fault."""


class EmbeddedPostgresError(LedgerError):
    """The bundled Postgres is missing or does not start."""


class InvalidRequestError(LedgerError):
    """An argument is invalid, such as an unknown dimension; the message lists the valid ones."""
