"""Makes the ledger's three roles, each with no more rights than its work needs.

The writer is for apps, the keeper for `tokenledger keep`, prices, purges and erasures, the reader
for reports. Retention and migrations stay with the tables' owner. All of it may run again, and must
after a migration that brings new tables.
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
"""What a role's name ends with."""

DEFAULT_PREFIX: Final = "tokenledger"

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")


def create_roles(database_url: str, prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """Make the roles or bring them up to date, as the tables' owner with CREATEROLE.

    Raises:
        UsageError: the prefix is no role name.
        LedgerError: whatever the database says; nothing was changed.
    """
    names = role_names(prefix)
    with session(database_url) as connection, connection.transaction():
        found = connection.execute("SELECT current_schema()").fetchone()
        for statement in _statements(prefix, str(found[0]) if found else "public"):
            connection.execute(statement)
    return names


@dataclass(frozen=True, slots=True)
class Bound:
    """What a reader is bound to, and what it saw.

    Args:
        reader: the role.
        organizations: all it is bound to; `None` is every organization.
        seen: those of them it found calls of.
        not_verified: why nobody could look as this reader; "" if somebody did.
    """

    reader: str
    organizations: tuple[str, ...] | None
    seen: tuple[str, ...] = ()
    not_verified: str = ""

    @property
    def sentence(self) -> str:
        """What is known of it in one line, and no more."""
        names = "all organizations" if self.organizations is None else ", ".join(self.organizations)
        if self.organizations is None and not self.not_verified:
            return f"{self.reader} sees {names}"
        if self.organizations is None or self.not_verified:
            return f"{self.reader} is bound to {names}; not verified: {self.not_verified}"
        seen = f"{self.reader} sees {', '.join(self.seen) or 'no call'} alone"
        unseen = [name for name in self.organizations if name not in self.seen]
        return f"{seen}; there is no call of {', '.join(unseen)} yet" if unseen else seen


def bind_reader(
    database_url: str, reader: str, organizations: Sequence[str], *, to_all: bool = False
) -> Bound:
    """Let a reader see these organizations, beside those it is bound to already, and look as it.

    Args:
        database_url: the ledger, as the tables' owner.
        reader: a login or role that exists.
        organizations: their ids.
        to_all: let it see every organization instead.

    Raises:
        UsageError: there is no such role, row-level security is not on yet, the role could see
            calls in another way, or it sees more than it is bound to; nothing was changed.
        LedgerError: whatever the database says; nothing was changed.
    """
    with session(database_url) as connection, connection.transaction():
        found = connection.execute(_READERS["known_reader"], {"reader": reader}).fetchone()
        if not found or not found[0]:
            raise InvalidRequestError(
                f"there is no role {reader!r}: make it first, IN ROLE {DEFAULT_PREFIX}_reader"
            )
        if not found[1]:
            raise InvalidRequestError(
                "rows are not shown by policy yet: run 'tokenledger db roles' first"
            )
        if rights := other_rights(connection, reader):
            raise InvalidRequestError(
                f"{reader} cannot be bound, it sees calls in another way: {rights}"
            )
        # An identifier, as regrole reads it.
        values: dict[str, object] = {"reader": sql.Identifier(reader).as_string(None)}
        if to_all:
            connection.execute(_READERS["unbind_reader"], values)
            connection.execute(_READERS["bind_to_all"], values)
        else:
            values["organizations"] = list(organizations)
            connection.execute(_READERS["bind_reader"], values)
        return look_as(connection, reader)


def other_rights(connection: psycopg.Connection[Any], reader: str) -> str:
    """What a reader could see calls by beside its binding, in words; "" if there is nothing."""
    found = connection.execute(_READERS["other_rights"], {"reader": reader}).fetchall()
    return ", ".join(
        f"it {why}" if role == reader else f"it is a member of {role}, which {why}"
        for role, why in found
    )


def bound_readers(connection: psycopg.Connection[Any]) -> list[str]:
    """The roles that are bound; empty where this user may not know."""
    try:
        with connection.transaction():
            found = connection.execute(_READERS["bound_readers"]).fetchall()
    except pg_errors.InsufficientPrivilege:
        return []
    return [name for (name,) in found]


def unbound_readers(connection: psycopg.Connection[Any]) -> list[str]:
    """Logins that may read and see nothing; empty where this user may not know."""
    try:
        with connection.transaction():
            found = connection.execute(_READERS["unbound_readers"]).fetchall()
    except pg_errors.InsufficientPrivilege:
        return []
    return [name for (name,) in found]


def look_as(connection: psycopg.Connection[Any], reader: str) -> Bound:
    """Read as a reader, in a transaction that is rolled back, and say what it saw.

    Raises:
        UsageError: it sees more than it is bound to, or cannot read calls at all.
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
            [(bound,)] = connection.execute(_READERS["sees"]).fetchall()
            organizations: list[str] = sorted(bound or ())
            values = {"organizations": organizations}
            found = connection.execute(_READERS["sees_calls_of"], values).fetchall()
            [(sees_others,)] = connection.execute(_READERS["sees_others"], values).fetchall()
    except pg_errors.InsufficientPrivilege as error:
        raise InvalidRequestError(
            f"{reader} cannot read calls ({error.diag.message_primary}): "
            f"GRANT {DEFAULT_PREFIX}_reader TO {role.as_string(None)}, and bind it again"
        ) from None
    if bound is None:
        return Bound(reader, None)
    if sees_others:
        raise InvalidRequestError(
            f"{reader} sees more than {', '.join(organizations)}: run 'tokenledger db roles' "
            "again, then bind it; nothing was changed"
        )
    return Bound(reader, tuple(organizations), tuple(name for (name,) in found))


def _not_verified(connection: psycopg.Connection[Any], reader: str) -> Bound:
    """For an owner that may not act as the reader."""
    values = {"reader": sql.Identifier(reader).as_string(None)}
    found = connection.execute(_READERS["bound_to"], values).fetchall()
    organizations = None if any(sees_all for _, sees_all in found) else tuple(n for n, _ in found)
    why = f"this user may not act as {reader} (GRANT it to the user to have it verified)"
    return Bound(reader, organizations, not_verified=why)


def script(prefix: str = DEFAULT_PREFIX, schema: str = "public") -> str:
    """The same as text, for a SQL editor."""
    parts = [statement.as_string(None).strip() for statement in _statements(prefix, schema)]
    return "\n\n".join(["BEGIN;", *(f"{part};" for part in parts), "COMMIT;", ""])


def role_names(prefix: str) -> tuple[str, ...]:
    """The three names.

    Raises:
        UsageError: the prefix is no role name.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidRequestError(
            f"{prefix!r} is no prefix for roles: take lower-case letters, digits and underscores, "
            "40 at most"
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
