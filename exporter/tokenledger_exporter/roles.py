"""Makes the ledger's three roles, each with no more rights than its work needs.

The writer is for apps, the keeper for `tokenledger keep`, prices, purges and erasures, the reader
for reports. Retention and migrations stay with the tables' owner. All of it may run again, and must
after a migration that brings new tables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.database import session
from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SQL: Final = statements("roles")
_BINDING: Final = statements("binding")

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


def bind_reader(database_url: str, reader: str, organizations: Sequence[str]) -> list[str]:
    """Let a reader see these organizations alone, beside those it is bound to already.

    Args:
        database_url: the ledger, as the tables' owner.
        reader: a login or role that exists; a name that does not would bind nobody.
        organizations: their ids.

    Returns:
        All it is bound to now.

    Raises:
        UsageError: there is no such role, or row-level security is not on yet.
        LedgerError: whatever the database says; nothing was changed.
    """
    with session(database_url) as connection, connection.transaction():
        found = connection.execute(_BINDING["known_reader"], {"reader": reader}).fetchone()
        if not found or not found[0]:
            raise UsageError(
                f"there is no role {reader!r}: make it first, IN ROLE {DEFAULT_PREFIX}_reader"
            )
        if not found[1]:
            raise UsageError("rows are not shown by policy yet: run 'tokenledger db roles' first")
        values = {"reader": reader, "organizations": list(organizations)}
        connection.execute(_BINDING["bind_reader"], values)
        return [name for (name,) in connection.execute(_BINDING["bound_to"], {"reader": reader})]


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
        raise UsageError(
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
            yield sql.SQL(text).format(**roles, **literals, schema=sql.Identifier(schema))
