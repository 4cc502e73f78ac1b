"""Creates the ledger's three roles, each with the privileges its work needs and no others.

The writer is for apps; the keeper for `tokenledger keep`, prices, purges and erasures; the reader
for reports. Retention and migrations require the tables' owner. Creating roles again is safe, and
necessary after a migration that adds tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors
from psycopg import sql

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

_SQL: Final = statements("roles")
_READERS: Final = statements("readers")

ROLES: Final = ("writer", "keeper", "reader")
"""Suffixes of the role names."""

DEFAULT_PREFIX: Final = "tokenledger"

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")


def create_roles(database_url: str, prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """Create or update the roles, as the tables' owner with CREATEROLE.

    Raises:
        InvalidRequestError: the prefix is invalid.
        LedgerError: any error of the database; nothing was changed.
    """
    names = role_names(prefix)
    with session(database_url) as connection, connection.transaction():
        row = connection.execute("SELECT current_schema()").fetchone()
        for statement in _statements(prefix, str(row[0]) if row else "public"):
            connection.execute(statement)
    return names


@dataclass(frozen=True, slots=True)
class ReaderBinding:
    """The organizations a reader is bound to, and the result of reading as that reader.

    Args:
        reader: the role.
        organizations: all it is bound to; `None` means every organization.
        seen: those of them that have calls.
        not_verified: why the binding could not be verified; "" if it was.
    """

    reader: str
    organizations: tuple[str, ...] | None
    seen: tuple[str, ...] = ()
    not_verified: str = ""

    @property
    def sentence(self) -> str:
        """The binding in one line; it claims only what was verified."""
        names = "all organizations" if self.organizations is None else ", ".join(self.organizations)
        if self.organizations is None and not self.not_verified:
            return f"{self.reader} sees {names}"
        if self.organizations is None or self.not_verified:
            return f"{self.reader} is bound to {names}; not verified: {self.not_verified}"
        if not self.seen:
            return f"{self.reader} can see only calls of {names}; there are none yet"
        sentence = f"{self.reader} can see only calls of {', '.join(self.seen)}"
        unseen = [name for name in self.organizations if name not in self.seen]
        return f"{sentence}; no calls of {', '.join(unseen)} yet" if unseen else sentence


def bind_reader(
    database_url: str, reader: str, organizations: Sequence[str], *, to_all: bool = False
) -> ReaderBinding:
    """Bind a reader to more organizations and verify it by reading as that role.

    Args:
        database_url: the ledger, as the tables' owner.
        reader: an existing role.
        organizations: their ids, added to those it is bound to.
        to_all: bind it to every organization instead.

    Raises:
        InvalidRequestError: the role does not exist, row-level security is not enabled, the role
            has other access to calls, or it sees more than it is bound to; nothing was changed.
        LedgerError: any error of the database; nothing was changed.
    """
    with session(database_url) as connection, connection.transaction():
        row = connection.execute(_READERS["known_reader"], {"reader": reader}).fetchone()
        if not row or not row[0]:
            raise InvalidRequestError(
                f"role {reader!r} does not exist: create it IN ROLE {DEFAULT_PREFIX}_reader first"
            )
        if not row[1]:
            raise InvalidRequestError(
                "row-level security is not enabled: run 'tokenledger db roles' first"
            )
        if rights := other_rights(connection, reader):
            raise InvalidRequestError(
                f"cannot bind {reader}, it has other access to calls: {rights}"
            )
        # A quoted identifier: the statements cast it to regrole.
        values: dict[str, object] = {"reader": sql.Identifier(reader).as_string(None)}
        if to_all:
            connection.execute(_READERS["unbind_reader"], values)
            connection.execute(_READERS["bind_to_all"], values)
        else:
            values["organizations"] = list(organizations)
            connection.execute(_READERS["bind_reader"], values)
        return _read_as(connection, reader)


def other_rights(connection: psycopg.Connection[Any], reader: str) -> str:
    """A reader's access to calls in addition to its binding, as text; "" if there is none."""
    rights = connection.execute(_READERS["other_rights"], {"reader": reader}).fetchall()
    return ", ".join(
        f"it {right}" if role == reader else f"it is a member of {role}, which {right}"
        for role, right in rights
    )


def bound_readers(connection: psycopg.Connection[Any]) -> list[str]:
    """The roles that are bound; empty if this user lacks the privilege to list them."""
    try:
        with connection.transaction():
            rows = connection.execute(_READERS["bound_readers"]).fetchall()
    except pg_errors.InsufficientPrivilege:
        return []
    return [name for (name,) in rows]


def unbound_readers(connection: psycopg.Connection[Any]) -> list[str]:
    """Logins that may read but see no rows; empty if this user lacks the privilege to list them."""
    try:
        with connection.transaction():
            rows = connection.execute(_READERS["unbound_readers"]).fetchall()
    except pg_errors.InsufficientPrivilege:
        return []
    return [name for (name,) in rows]


def _read_as(connection: psycopg.Connection[Any], reader: str) -> ReaderBinding:
    """Read as a reader, in a transaction that is rolled back, and return what it sees.

    Raises:
        InvalidRequestError: it sees more than it is bound to, or cannot read calls at all.
    """
    role = sql.Identifier(reader)
    act_as = sql.SQL(_READERS["act_as"]).format(role=role)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(act_as)
    except pg_errors.InsufficientPrivilege:
        return _not_verified(connection, reader)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(act_as)
            [(bound_to,)] = connection.execute(_READERS["sees"]).fetchall()
            organizations: list[str] = sorted(bound_to or ())
            values = {"organizations": organizations}
            seen = connection.execute(_READERS["sees_calls_of"], values).fetchall()
            [(sees_others,)] = connection.execute(_READERS["sees_others"], values).fetchall()
    except pg_errors.InsufficientPrivilege as error:
        raise InvalidRequestError(
            f"{reader} cannot read calls ({error.diag.message_primary}): "
            f"GRANT {DEFAULT_PREFIX}_reader TO {role.as_string(None)} and bind it again"
        ) from None
    if bound_to is None:
        return ReaderBinding(reader, None)
    if sees_others:
        raise InvalidRequestError(
            f"{reader} sees more than {', '.join(organizations)}: run 'tokenledger db roles' "
            "again, then bind it; nothing was changed"
        )
    return ReaderBinding(reader, tuple(organizations), tuple(name for (name,) in seen))


def _not_verified(connection: psycopg.Connection[Any], reader: str) -> ReaderBinding:
    """The binding of a reader whose role this user may not assume."""
    values = {"reader": sql.Identifier(reader).as_string(None)}
    rows = connection.execute(_READERS["bound_to"], values).fetchall()
    organizations = None if any(sees_all for _, sees_all in rows) else tuple(n for n, _ in rows)
    reason = f"this user may not act as {reader} (GRANT {reader} to this user to verify it)"
    return ReaderBinding(reader, organizations, not_verified=reason)


def script(prefix: str = DEFAULT_PREFIX, schema: str = "public") -> str:
    """The statements of `create_roles` as a script for a SQL editor."""
    parts = [statement.as_string(None).strip() for statement in _statements(prefix, schema)]
    return "\n\n".join(["BEGIN;", *(f"{part};" for part in parts), "COMMIT;", ""])


def role_names(prefix: str) -> tuple[str, ...]:
    """The names of the three roles.

    Raises:
        InvalidRequestError: the prefix is invalid.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidRequestError(
            f"invalid role prefix {prefix!r}: use up to 40 lower-case letters, digits and "
            "underscores, and do not start with a digit"
        )
    return tuple(f"{prefix}_{role}" for role in ROLES)


def _statements(prefix: str, schema: str) -> Iterator[sql.Composed]:
    names = dict(zip(ROLES, role_names(prefix), strict=True))
    roles = {role: sql.Identifier(name) for role, name in names.items()}
    literals = {f"{role}_name": sql.Literal(name) for role, name in names.items()}
    for name, text in _SQL.items():
        if name == "create_role":
            for role in ROLES:
                yield sql.SQL(text).format(name=literals[f"{role}_name"], role=roles[role])
        else:
            yield sql.SQL(text).format(
                **roles,
                **literals,
                schema=sql.Identifier(schema),
                schema_name=sql.Literal(schema),
            )
