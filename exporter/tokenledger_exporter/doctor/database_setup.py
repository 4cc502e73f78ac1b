"""Checks of the database's setup: privileges, readers, encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db import roles
from tokenledger_exporter.doctor.check import OK, WARN, Check
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_SQL: Final = statements("doctor")
_UTF8: Final = "UTF8"


def check_database(connection: psycopg.Connection[Any]) -> Iterator[Check]:
    """Run every check of this module; the schema must match this release."""
    yield encoding(connection)
    yield schema_rights(connection)
    yield readers(connection)
    yield unbound(connection)


def warnings(connection: psycopg.Connection[Any]) -> list[str]:
    """The findings that a migration prints: one line each, with its remedy."""
    checks = (encoding(connection), schema_rights(connection), unbound(connection))
    return [f"{check.detail}: {check.remedy}" for check in checks if check.state != OK]


def encoding(connection: psycopg.Connection[Any]) -> Check:
    """Check that the database can store every character."""
    [(name,)] = connection.execute(_SQL["encoding"]).fetchall()
    if name == _UTF8:
        return Check("encoding", OK, "UTF8")
    return Check(
        "encoding",
        WARN,
        f"the database's encoding is {name}, which cannot store every character: calls with such "
        "characters go to token_ledger_rejected",
        "create a database with ENCODING 'UTF8' and migrate there",
    )


def schema_rights(connection: psycopg.Connection[Any]) -> Check:
    """Check whether other roles can create, or have created, functions that shadow built-ins."""
    creators = connection.execute(_SQL["creators"]).fetchall()
    shadowing = connection.execute(_SQL["planted"]).fetchall()
    if shadowing:
        names = ", ".join(f"{name} of {owner}" for name, owner in shadowing)
        return Check(
            "schema rights",
            WARN,
            f"the ledger's schema has functions or operators named like built-in ones: {names}",
            "drop them if you did not create them",
        )
    if creators:
        schema, _ = creators[0]
        names = ", ".join(dict.fromkeys(role for _, role in creators))
        return Check(
            "schema rights",
            WARN,
            f"{names} may create objects in schema {schema} and run code as the tables' owner",
            f"run REVOKE CREATE ON SCHEMA {schema} FROM {names}",
        )
    return Check("schema rights", OK, "only the owner may create objects in the ledger's schema")


def readers(connection: psycopg.Connection[Any]) -> Check:
    """Check whether a bound reader was granted other access to the calls."""
    bound = roles.bound_readers(connection)
    rights = {reader: roles.other_rights(connection, reader) for reader in bound}
    excess = [f"{reader}: {right}" for reader, right in rights.items() if right]
    if not excess:
        return Check("readers", OK, "no bound reader has other access to calls")
    return Check(
        "readers",
        WARN,
        f"bound readers have other access to calls ({'; '.join(excess)})",
        "revoke that access from the reader",
    )


def unbound(connection: psycopg.Connection[Any]) -> Check:
    """Check for readers that see no rows because they are not bound."""
    if names := roles.unbound_readers(connection):
        return Check(
            "unbound readers",
            WARN,
            f"{', '.join(names)} may read but {'is' if len(names) == 1 else 'are'} not bound to an "
            f"organization and {'sees' if len(names) == 1 else 'see'} no calls",
            "bind each: 'tokenledger db roles --reader NAME --organization ID', or --all",
        )
    return Check("unbound readers", OK, "all readers are bound")
