"""Connections to the ledger: one way to open them, and errors that never show the password.

Works through a transaction pooler: no prepared statements, no session state.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_loads

from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError, SchemaError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from psycopg.pq.abc import PGconn

    from tokenledger_exporter.errors import LedgerError

# What tells one ledger from another -> the variable libpq fills it from where the string does not.
_IDENTITY: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "options": "PGOPTIONS",
    "service": "PGSERVICE",
}
_HOSTS: Final = re.compile(r"[\w.,:\[\]/-]*")
_PORTS: Final = re.compile(r"[\d,]*")
_NAME: Final = re.compile(r"[^@/:]*")

# What an attempt to connect raises.
_UNREACHABLE: Final = (
    psycopg.OperationalError,
    psycopg.ProgrammingError,
    OSError,
    UnicodeError,
)

# What statements and the reading of answers rely on: name, the values that are right, the first of
# which is set. What a pooler does not tell is set, too.
_SETTINGS: Final = (
    ("DateStyle", ("ISO, MDY", "ISO, DMY", "ISO, YMD")),
    ("IntervalStyle", ("postgres",)),
    ("TimeZone", ("UTC", "Etc/UTC")),
    ("standard_conforming_strings", ("on",)),
)

CONNECT_SECONDS: Final = 5
"""How long one attempt to connect may take, unless the connection string says otherwise."""


def connect(
    database_url: str, kind: type[psycopg.Connection[Any]] = psycopg.Connection
) -> psycopg.Connection[Any]:
    """Open a connection.

    Args:
        database_url: where to.
        kind: the class of connection to make.

    Raises:
        DatabaseUnreachableError: the string is malformed or nobody answers; the message names
            host, port and database, never user secrets.
    """
    options = _options(database_url)
    try:
        connection = kind.connect(database_url, **options)
        # Said in BEGIN, so it takes no round trip: a database may have another default.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if statement := _odd_settings(connection.pgconn):
            connection.autocommit = True
            connection.execute(statement)
            connection.autocommit = False
    except _UNREACHABLE as error:
        raise _unreachable(database_url, error) from None
    return connection


@contextmanager
def session(database_url: str) -> Generator[psycopg.Connection[Any]]:
    """A connection for reading or a single change, committed at the end.

    Raises:
        LedgerError: whatever the database says, in one clear line.
    """
    with connect(database_url) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise explain(error) from None


class ReusableSession:
    """Sessions on one connection, for who has work every few seconds.

    Args:
        database_url: where to.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def session(self) -> Generator[psycopg.Connection[Any]]:
        """As `session`; after a failure the next one is on a new connection.

        Raises:
            LedgerError: whatever the database says, in one clear line.
        """
        connection = self._connection
        if connection is None or not _answers(connection):
            self.close()
            connection = self._connection = connect(self._database_url)
        try:
            yield connection
            connection.commit()
        except psycopg.Error as error:
            self.close()
            raise explain(error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, if there is one; what was not committed is not done."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server is still there: it may have been started anew since."""
    try:
        connection.execute("SELECT")
        connection.commit()
    except psycopg.Error:
        return False
    return True


@contextmanager
def reading(database_url: str) -> Generator[psycopg.Connection[Any]]:
    """A connection for reading alone; in a transaction of it, the ledger stands still.

    Raises:
        LedgerError: as `session`.
    """
    with connect(database_url) as connection:
        connection.autocommit = True
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        set_json_loads(_read_json, connection)
        try:
            yield connection
        except psycopg.Error as error:
            raise explain(error) from None


@asynccontextmanager
async def areading(database_url: str) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    """As `reading`, for a coroutine."""
    options = _options(database_url)
    try:
        opened = await psycopg.AsyncConnection.connect(database_url, **options)
    except _UNREACHABLE as error:
        raise _unreachable(database_url, error) from None
    async with opened as connection:
        await connection.set_autocommit(True)
        if statement := _odd_settings(connection.pgconn):
            await connection.execute(statement)
        await connection.set_read_only(True)
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        set_json_loads(_read_json, connection)
        try:
            yield connection
        except psycopg.Error as error:
            raise explain(error) from None


_DECODER: Final = msgspec.json.Decoder()


def _read_json(text: bytes | str) -> object:
    """A document; reading the metadata of a page took longer than everything else of it."""
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        # A number too large for a float, which the standard library reads as infinite.
        return json.loads(text)


def explain(error: psycopg.Error) -> LedgerError:
    """What happened and what to do, without the database's own text about values."""
    if isinstance(error, pg_errors.InvalidParameterValue):
        # The machine's list of time zones has names that Postgres' own has not.
        return InvalidRequestError(f"the database does not know it: {error.diag.message_primary}")
    if sentence := _sentence(error):
        return SchemaError(sentence)
    return DatabaseUnreachableError(
        f"the database did not do it ({type(error).__name__}), try again"
    )


_OTHER_SCHEMA: Final = (
    pg_errors.UndefinedTable,
    pg_errors.UndefinedColumn,
    pg_errors.UndefinedFunction,
)


def _sentence(error: psycopg.Error) -> str:
    """What an error is about that trying again does not end; "" for any other."""
    if isinstance(error, _OTHER_SCHEMA):
        return "the ledger's tables are missing or changed: run 'tokenledger db migrate'"
    if isinstance(error, pg_errors.InsufficientPrivilege):
        # Only our own functions say what to do about a right.
        remedy = error.diag.message_hint or (
            "grant it SELECT, and INSERT where it writes, on the token_ledger tables"
        )
        return f"the database user may not use the ledger ({error.diag.message_primary}): {remedy}"
    if isinstance(error, pg_errors.RaiseException):
        # Only our own migrations raise: their words are written for people.
        return f"{error.diag.message_primary}: {error.diag.message_hint}"
    if isinstance(error, pg_errors.ReadOnlySqlTransaction):
        return "this database takes no writes, as a replica does: use the primary"
    if isinstance(error, (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)):
        where = error.diag.constraint_name or error.diag.table_name or error.diag.message_primary
        return f"the database refused it ({type(error).__name__}: {where}), nothing was changed"
    return ""


def describe(database_url: str) -> str:
    """Host, port and database for a message; never user, password or options."""
    try:
        parts = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        return "a malformed database URL"
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
    port = str(parts.get("port") or 5432)
    database = str(parts.get("dbname") or parts.get("user") or "")
    # A password with a bare @, : or / in it is parsed as host, port and database.
    if not (_HOSTS.fullmatch(host) and _PORTS.fullmatch(port) and _NAME.fullmatch(database)):
        return "a database URL that cannot be right (percent-encode @ : / in its password)"
    return f"{host}:{port}/{database}"


def fingerprint(database_url: str) -> str:
    """Which ledger a connection string means: a hash of where it leads, schema options included.

    The password is no part of it: a rotated password leaves the spool where it is.
    """
    try:
        parts = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        parts = {"host": "malformed"}
    identity = "\x1f".join(
        str(parts.get(name) or os.environ.get(variable, "")) for name, variable in _IDENTITY.items()
    )
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _options(database_url: str) -> dict[str, Any]:
    """What every connection is opened with, unless the connection string says otherwise."""
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        raise DatabaseUnreachableError(
            "the database URL is malformed: give postgresql://user:password@host:5432/database "
            "in TOKENLEDGER_DATABASE_URL or configure(database_url=...)"
        ) from None
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "tokenledger",
        # A dead peer is noticed in half a minute instead of two hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
    }
    wanted = {key: value for key, value in defaults.items() if key not in given}
    # A COPY says its texts in this encoding, whatever PGCLIENTENCODING or the string say.
    return {"prepare_threshold": None, "client_encoding": "UTF8", **wanted}


def _odd_settings(pgconn: PGconn) -> sql.Composed | None:
    """What sets the settings right that a database or role changed; `None` for most databases.

    The server tells these at the start of a session, and a transaction pooler keeps them for each
    client. So only a database with odd ones costs a round trip, and no start-up option is sent,
    which a pooler may refuse.
    """
    odd = [
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(right[0]))
        for name, right in _SETTINGS
        if (pgconn.parameter_status(name.encode()) or b"").decode() not in right
    ]
    return sql.SQL("; ").join(odd) if odd else None


def _unreachable(database_url: str, error: Exception) -> DatabaseUnreachableError:
    return DatabaseUnreachableError(
        f"no connection to {describe(database_url)} ({_reason(error)}): "
        "check that Postgres runs there and that TOKENLEDGER_DATABASE_URL is right"
    )


def _reason(error: Exception) -> str:
    """The kind of failure in our own words: libpq's text can hold the user and the password."""
    text = str(error).lower()
    kinds = {
        "password authentication failed": "the password was refused",
        "no password supplied": "a password is needed",
        "connection refused": "connection refused",
        "timeout": "no answer in time",
        "timed out": "no answer in time",
        "does not exist": "the database or user does not exist",
        "resolve": "the host name is unknown",
        "not known": "the host name is unknown",
        "too many": "the server has too many connections",
        "starting up": "the server is starting up",
        "invalid integer value": "the port is no number",
        "ssl": "TLS could not be agreed",
    }
    return next((kind for needle, kind in kinds.items() if needle in text), "the attempt failed")
