"""What can go wrong in the exporter, as one small tree.

    LedgerError
    +-- DatabaseUnreachableError  no connection; rows wait in the spool
    +-- RowsRefusedError          the database takes none of a batch; the rows wait
    +-- SchemaError               the ledger's tables are missing, older, newer or changed
    +-- EmbeddedPostgresError     the bundled Postgres is missing or does not start
    +-- UsageError                a person asked for something that does not exist

Messages say what happened, to what, and what to do; none carries a connection string.
"""


class LedgerError(Exception):
    """Any failure of the ledger."""


class DatabaseUnreachableError(LedgerError):
    """No connection to Postgres could be had."""


class SchemaError(LedgerError):
    """The database does not hold the schema this release writes."""


class RowsRefusedError(LedgerError):
    """The database takes none of a batch, for a reason that may be the rows' or its own."""


class EmbeddedPostgresError(LedgerError):
    """The Postgres from the wheel is not there or does not start."""


class InvalidRequestError(LedgerError):
    """A dimension, time span or format that does not exist; the message lists what does."""
