"""Creates a ledger's roles with logins for tests, and drops them."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import make_conninfo

from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.db.roles import create_roles
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import LiteralString

_numbers = itertools.count(1)


@dataclass
class Roles:
    """A ledger's three roles and the logins of a test."""

    owner: str
    writer: str
    keeper: str
    reader: str
    logins: list[str] = field(default_factory=list[str])

    def login(
        self, name: str, *member_of: str, options: LiteralString = "LOGIN PASSWORD 'pw'"
    ) -> str:
        """Create a role and return its full name."""
        full = f"{self.reader}_{name}"
        with psycopg.connect(self.owner) as connection:
            statement = sql.SQL("CREATE ROLE {} " + options).format(sql.Identifier(full))
            connection.execute(statement)
            for role in member_of:
                grant = sql.SQL("GRANT {} TO {}")
                connection.execute(grant.format(sql.Identifier(role), sql.Identifier(full)))
        self.logins.append(full)
        return full

    def url(self, name: str) -> str:
        """The ledger as this login."""
        return make_conninfo(self.owner, user=name, password="pw")


@contextmanager
def roles_of(database_url: str) -> Generator[Roles]:
    """The roles of a ledger, dropped after the test."""
    names = create_roles(database_url, f"r{os.getpid()}_{next(_numbers)}")
    writer, keeper, reader = names
    roles = Roles(database_url, writer, keeper, reader)
    try:
        yield roles
    finally:
        with psycopg.connect(database_url) as connection:
            for name in (*roles.logins, *names):
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            for name in (*roles.logins, *names):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def refusal(database_url: str, statement: str) -> str:
    """The database's message about a missing privilege; "" if the statement succeeds."""
    with psycopg.connect(database_url) as connection:
        try:
            connection.execute(statement.encode())
        except pg_errors.InsufficientPrivilege as error:
            return str(error.diag.message_primary)
        connection.rollback()
        return ""


def fill(database_url: str) -> None:
    """Write a call of acme, one of globex, one without organization, repricings and a loss."""
    writer = BatchWriter(database_url)
    organization = attributes.ORGANIZATION_ID
    writer.write([row(chat_attributes() | {organization: of}) for of in ("acme", "globex", "")])
    writer.count_loss("payroll", "test", 3)
    writer.close()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_repricings (event_id, reason)"
            " SELECT event_id, 'test' FROM token_ledger_events"
        )
