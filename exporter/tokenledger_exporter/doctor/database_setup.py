"""Whether the database around the ledger is safe and can hold it: rights, readers, encoding."""

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
    """Every check of this module; the schema is this release's."""
    yield encoding(connection)
    yield schema_rights(connection)
    yield readers(connection)
    yield unbound(connection)


def warnings(connection: psycopg.Connection[Any]) -> list[str]:
    """What a migration should say: each finding with its remedy, in one line."""
    checks = (encoding(connection), schema_rights(connection), unbound(connection))
    return [f"{check.detail}: {check.remedy}" for check in checks if check.state != OK]


def encoding(connection: psycopg.Connection[Any]) -> Check:
    """Whether the database holds every character that a name can have."""
    [(found,)] = connection.execute(_SQL["encoding"]).fetchall()
    if found == _UTF8:
        return Check("encoding", OK, "the database holds every character")
    return Check(
        "encoding",
        WARN,
        f"the database's encoding is {found}, which cannot hold every character: a call with one "
        "that it cannot hold is kept in token_ledger_rejected",
        "make a database with ENCODING 'UTF8' and migrate there",
    )


def schema_rights(connection: psycopg.Connection[Any]) -> Check:
    """Whether others may make, or have made, functions that the owner could run by mistake."""
    creators = connection.execute(_SQL["creators"]).fetchall()
    planted = connection.execute(_SQL["planted"]).fetchall()
    if planted:
        names = ", ".join(f"{name} of {owner}" for name, owner in planted)
        return Check(
            "schema rights",
            WARN,
            f"the ledger's schema has functions or operators named like Postgres' own: {names}",
            "drop them unless you made them",
        )
    if creators:
        schema, _ = creators[0]
        names = ", ".join(dict.fromkeys(role for _, role in creators))
        return Check(
            "schema rights",
            WARN,
            f"{names} may create objects in schema {schema}, and so trick the tables' owner",
            f"run REVOKE CREATE ON SCHEMA {schema} FROM {names}",
        )
    return Check("schema rights", OK, "only the owner may create objects in the ledger's schema")


def readers(connection: psycopg.Connection[Any]) -> Check:
    """Whether a bound reader got another way to the calls since it was bound."""
    bound = roles.bound_readers(connection)
    found = {reader: roles.other_rights(connection, reader) for reader in bound}
    open_ways = [f"{reader}: {rights}" for reader, rights in found.items() if rights]
    if not open_ways:
        return Check("readers", OK, "no bound reader has another way to the calls")
    return Check(
        "readers",
        WARN,
        f"bound readers see calls in another way ({'; '.join(open_ways)})",
        "revoke that role from the reader",
    )


def unbound(connection: psycopg.Connection[Any]) -> Check:
    """Whether a reader sees nothing because nobody bound it, as before this release."""
    if names := roles.unbound_readers(connection):
        return Check(
            "unbound readers",
            WARN,
            f"{', '.join(names)} may read and are bound to no organization, so they see no call",
            "bind each: tokenledger db roles --reader NAME --organization ID, or --all",
        )
    return Check("unbound readers", OK, "every reader is bound")
