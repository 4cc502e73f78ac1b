"""Opens connections to the ledger; error messages never contain the password.

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
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads

from tokenledger_exporter.db.database_url import libpq_url, url_fault
from tokenledger_exporter.errors import (
    DatabaseUnreachableError,
    DatabaseUrlError,
    InvalidRequestError,
    SchemaError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from psycopg.pq.abc import PGconn

    from tokenledger_exporter.errors import LedgerError

# Connection parameters that identify a ledger -> environment variable that libpq uses by default.
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
_INVALID: Final = "an invalid database URL (percent-encode @ : / in its password)"
_NOT_A_NUMBER: Final = re.compile(
    r'(?:bad value for |invalid integer value ".*" for connection option ")(\w+)'
)
_NO_DATABASE: Final = re.compile(r'database ".*" does not exist|no such database')

# Errors of a failed connection attempt.
_UNREACHABLE: Final = (
    psycopg.OperationalError,
    psycopg.ProgrammingError,
    OSError,
    UnicodeError,
)

# Server settings that our SQL relies on: name and accepted values. The first value is set if the
# server reports another one, or if a pooler does not report the setting.
_SETTINGS: Final = (
    ("DateStyle", ("ISO, MDY", "ISO, DMY", "ISO, YMD")),
    ("IntervalStyle", ("postgres",)),
    ("TimeZone", ("UTC", "Etc/UTC")),
    ("standard_conforming_strings", ("on",)),
)

CONNECT_SECONDS: Final = 5
"""Timeout of a connection attempt, unless the connection string sets one."""


def connect(
    database_url: str, kind: type[psycopg.Connection[Any]] = psycopg.Connection
) -> psycopg.Connection[Any]:
    """Open a connection.

    Args:
        database_url: connection string.
        kind: the connection's class.

    Raises:
        DatabaseUrlError: the connection string is malformed; the message names the wrong part.
        DatabaseUnreachableError: the server does not answer; the message names host, port and
            database, never secrets.
    """
    database_url = libpq_url(database_url)
    options = _options(database_url)
    try:
        connection = kind.connect(database_url, **options)
        # The database may have another default. BEGIN sets the level, so there is no round trip.
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
    """A connection whose transaction is committed at the end.

    Raises:
        LedgerError: any error of the database, as one line.
    """
    with connect(database_url) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise explain(error) from None


class ReusableSession:
    """Sessions that share one connection, for work every few seconds.

    Args:
        database_url: connection string.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def session(self) -> Generator[psycopg.Connection[Any]]:
        """Like `session`; after an error the next session opens a new connection.

        Raises:
            LedgerError: any error of the database, as one line.
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
        """Close the connection, if there is one; an open transaction is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server still answers on this connection; it may have been restarted."""
    try:
        connection.execute("SELECT")
        connection.commit()
    except psycopg.Error:
        return False
    return True


@contextmanager
def reading(database_url: str) -> Generator[psycopg.Connection[Any]]:
    """A read-only connection whose transactions are snapshots (REPEATABLE READ).

    Raises:
        LedgerError: any error of the database, as one line.
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
    """The asynchronous version of `reading`."""
    database_url = libpq_url(database_url)
    options = _options(database_url)
    try:
        connection = await psycopg.AsyncConnection.connect(database_url, **options)
    except _UNREACHABLE as error:
        raise _unreachable(database_url, error) from None
    async with connection:
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
    """Decode JSON; with the standard library, decoding metadata took most of the time of a page."""
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        # A number too large for a float; the standard library reads it as infinity.
        return json.loads(text)


def explain(error: psycopg.Error) -> LedgerError:
    """The error with its remedy, without the database's text about values."""
    if isinstance(error, pg_errors.InvalidParameterValue):
        # This machine may know time zones that Postgres does not.
        return InvalidRequestError(
            f"the database rejected a parameter: {error.diag.message_primary}"
        )
    if sentence := _sentence(error):
        return SchemaError(sentence)
    if isinstance(error, pg_errors.QueryCanceled):
        return DatabaseUnreachableError(
            "the statement took too long and was canceled: choose a shorter period, or try again"
        )
    return DatabaseUnreachableError(f"the statement failed ({type(error).__name__}): try again")


_OTHER_SCHEMA: Final = (
    pg_errors.UndefinedTable,
    pg_errors.UndefinedColumn,
    pg_errors.UndefinedFunction,
)


def _sentence(error: psycopg.Error) -> str:
    """Cause and remedy of an error that a retry does not fix; "" for any other error."""
    if isinstance(error, _OTHER_SCHEMA):
        return "the ledger's tables are missing or changed: run 'tokenledger db migrate'"
    if isinstance(error, pg_errors.InsufficientPrivilege):
        # Only our own functions add a hint to this error.
        remedy = error.diag.message_hint or (
            "grant it SELECT, and INSERT to write, on the token_ledger tables"
        )
        return f"the database user may not use the ledger ({error.diag.message_primary}): {remedy}"
    if isinstance(error, pg_errors.RaiseException):
        # Only our own migrations raise this error; its text is written for users.
        return f"{error.diag.message_primary}: {error.diag.message_hint}"
    if isinstance(error, pg_errors.ReadOnlySqlTransaction):
        return "the database is read-only, like a replica: use the primary"
    if isinstance(error, (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)):
        detail = error.diag.constraint_name or error.diag.table_name or error.diag.message_primary
        return (
            f"the database rejected the statement ({type(error).__name__}: {detail}); "
            "nothing was changed"
        )
    return ""


def with_connect_timeout(database_url: str, seconds: int) -> str:
    """The connection string with another timeout of a connection attempt; at least 2 seconds."""
    try:
        return make_conninfo(libpq_url(database_url), connect_timeout=seconds)
    except psycopg.ProgrammingError:
        # The attempt itself says what is wrong.
        return database_url


def describe(database_url: str) -> str:
    """Host, port and database for a message; never user, password or options."""
    try:
        parts = conninfo_to_dict(libpq_url(database_url))
    except psycopg.ProgrammingError:
        return "a malformed database URL"
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
    port = str(parts.get("port") or 5432)
    database = str(parts.get("dbname") or parts.get("user") or "")
    # An unencoded @, : or / in a password makes a part of it look like host, port or database.
    if not (_HOSTS.fullmatch(host) and _PORTS.fullmatch(port) and _NAME.fullmatch(database)):
        return _INVALID
    return f"{host}:{port}/{database}"


def fingerprint(database_url: str) -> str:
    """Identify a ledger by a hash of its connection parameters, including schema options.

    The password is not part of the hash, so the spool's folder stays the same when it is rotated.
    """
    try:
        parts = conninfo_to_dict(libpq_url(database_url))
    except psycopg.ProgrammingError:
        parts = {"host": "malformed"}
    identity = "\x1f".join(
        str(parts.get(name) or os.environ.get(variable, "")) for name, variable in _IDENTITY.items()
    )
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _options(database_url: str) -> dict[str, Any]:
    """Connection options; defaults that the connection string sets are left out."""
    try:
        parameters = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as error:
        fault = url_fault(database_url, str(error))
        raise DatabaseUrlError(f"the database URL is malformed: {fault}") from None
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "tokenledger",
        # A dead peer is detected within half a minute instead of two hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
    }
    options = {key: value for key, value in defaults.items() if key not in parameters}
    # COPY sends text in this encoding, regardless of PGCLIENTENCODING and the connection string.
    return {"prepare_threshold": None, "client_encoding": "UTF8", **options}


def _odd_settings(pgconn: PGconn) -> sql.Composed | None:
    """A statement that restores settings changed for the database or role; usually `None`.

    The server reports these settings when a session starts, and a transaction pooler tracks them
    for each client. So only a database with other settings costs a round trip. Start-up options are
    not used because a pooler may refuse them.
    """
    odd = [
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(accepted[0]))
        for name, accepted in _SETTINGS
        if (pgconn.parameter_status(name.encode()) or b"").decode() not in accepted
    ]
    return sql.SQL("; ").join(odd) if odd else None


def _unreachable(database_url: str, error: Exception) -> DatabaseUnreachableError:
    text = str(error).lower()
    place = describe(database_url)
    if place == _INVALID:
        return DatabaseUrlError(
            "the user name or password in the database URL contains @, : or /: write them as "
            "%40, %3A and %2F"
        )
    if option := _NOT_A_NUMBER.search(text):
        return DatabaseUrlError(f"the database URL is malformed: {option[1]} must be a number")
    if "invalid sslmode value" in text:
        return DatabaseUrlError(
            "the database URL is malformed: sslmode must be disable, allow, prefer, require, "
            "verify-ca or verify-full"
        )
    if _NO_DATABASE.search(text):
        parts = conninfo_to_dict(database_url)
        where = [f"-h {parts['host']}"] if parts.get("host") else []
        where += [f"-p {parts['port']}"] if parts.get("port") else []
        command = " ".join(["createdb", *where, place.rpartition("/")[2]])
        return DatabaseUnreachableError(
            f"cannot connect to {place} (the database does not exist): create it with "
            f"'{command}', then run 'tokenledger db migrate'"
        )
    reason = _reason(text)
    return DatabaseUnreachableError(
        f"cannot connect to {place} ({reason}): "
        + _REMEDIES.get(
            reason, "check that Postgres runs there and that TOKENLEDGER_DATABASE_URL is correct"
        )
    )


_CREDENTIALS: Final = "check user and password in the database URL"
_REMEDIES: Final = {
    "password authentication failed": _CREDENTIALS,
    "a password is required": _CREDENTIALS,
    "the user does not exist": _CREDENTIALS,
    "the server has too many connections": "close some, or raise max_connections",
    "the server is starting up": "try again in a moment",
}


def _reason(text: str) -> str:
    """The reason in fixed words, because libpq's message can contain user and password."""
    kinds = {
        "password authentication failed": "password authentication failed",
        "no password supplied": "a password is required",
        "connection refused": "connection refused",
        "timeout": "no answer in time",
        "timed out": "no answer in time",
        "does not exist": "the user does not exist",
        "resolve": "unknown host name",
        "not known": "unknown host name",
        "too many": "the server has too many connections",
        "starting up": "the server is starting up",
        "ssl": "TLS negotiation failed",
    }
    return next((kind for needle, kind in kinds.items() if needle in text), "connection failed")
