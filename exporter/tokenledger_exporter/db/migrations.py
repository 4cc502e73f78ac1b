"""Runs the migrations, and compares a database's schema with the one this release needs.

The migrations are plain SQL files that people can read and paste into a SQL editor. They are
append-only: a released file is never changed. The runner takes one advisory lock, runs all files in
one transaction, records their checksums, and sets a `lock_timeout`, so that a migration never
blocks the app behind it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors
from psycopg.rows import dict_row

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import migration_files, statements

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg
    from typing_extensions import LiteralString

_SQL: Final = statements("migrations")

_UNRELEASED: Final = re.compile(r"\d\d\.\d\d\.\d\d_")
"""Start of the migrations' names before the first release; tables had other names then."""

IMPORT_HINT: Final = "tokenledger db import-v0"
"""Command that copies the rows of TokenLedger 0.1 into the ledger."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its SQL, and the checksum of its content."""

    name: str
    sql: LiteralString
    checksum: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that has run in a database."""

    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """How a database compares with this release.

    Args:
        applied: migrations that have run, oldest first.
        missing: names of this release's migrations that have not run.
        unknown: names of migrations that have run and are not in this release.
        changed: names of migrations that have run with different content.
        older_table: `token_ledger_events` is the table of TokenLedger 0.1.
        older_renamed: that table, or a view of it, is here as `token_ledger_events_v0`.
    """

    applied: tuple[Applied, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    changed: tuple[str, ...]
    older_table: bool
    older_renamed: bool

    @property
    def is_current(self) -> bool:
        """Whether this release can read and write the ledger without a migration."""
        return not (self.missing or self.refusal)

    @property
    def refusal(self) -> str:
        """Why this release cannot update the schema, and what to do; empty if it can."""
        if unreleased := [name for name in self.unknown if _UNRELEASED.match(name)]:
            return (
                f"this ledger was made by an unreleased version of TokenLedger (migration "
                f"{unreleased[0]}) and cannot be updated. Export its calls, migrate "
                "an empty database, and import them: see 'A ledger of an unreleased version' in "
                "docs/operations/postgres.md"
            )
        if self.unknown:
            return (
                f"the schema is newer than this release (it has {', '.join(self.unknown)}): "
                "upgrade the tokenledger-otel package"
            )
        if self.changed:
            return (
                f"{', '.join(self.changed)} was applied with different content: restore the schema "
                "from a backup, or migrate an empty database"
            )
        return ""

    @property
    def sentence(self) -> str:
        """The state and its remedy in one line."""
        if self.refusal:
            return self.refusal
        if self.older_table:
            return (
                "token_ledger_events is the table of TokenLedger 0.1: run 'tokenledger db migrate' "
                f"to rename it to token_ledger_events_v0, then '{IMPORT_HINT}' to copy its rows"
            )
        if not self.applied:
            return "the ledger's tables are missing: run 'tokenledger db migrate'"
        if self.missing:
            verb = "migration is" if len(self.missing) == 1 else "migrations are"
            return f"{len(self.missing)} {verb} missing: run 'tokenledger db migrate'"
        return f"up to date at {self.applied[-1].name}"


def known_migrations() -> tuple[Migration, ...]:
    """This release's migrations, in the order they run."""
    return tuple(
        Migration(name, text, hashlib.sha256(text.encode()).hexdigest()[:16])
        for name, text in migration_files().items()
    )


def read_status(connection: psycopg.Connection[Any]) -> SchemaStatus:
    """Compare the connected database with this release."""
    applied = _applied(connection)
    with connection.cursor(row_factory=dict_row) as cursor:
        table = cursor.execute(_SQL["events_table"]).fetchone() or {}
    known = {migration.name: migration.checksum for migration in known_migrations()}
    ran = {migration.name: migration.checksum for migration in applied}
    return SchemaStatus(
        applied=applied,
        missing=tuple(name for name in known if name not in ran),
        unknown=tuple(name for name in ran if name not in known),
        changed=tuple(name for name in ran if name in known and known[name] != ran[name]),
        older_table=bool(table.get("present")) and not table.get("is_ledger"),
        older_renamed=bool(table.get("older_renamed")),
    )


def status(database_url: str) -> SchemaStatus:
    """Compare a database with this release.

    Raises:
        DatabaseUnreachableError: the database cannot be reached.
    """
    with session(database_url) as connection:
        return read_status(connection)


def _applied(connection: psycopg.Connection[Any]) -> tuple[Applied, ...]:
    exists = connection.execute(_SQL["history_exists"]).fetchone()
    if not exists or not exists[0]:
        return ()
    return tuple(Applied(*row) for row in connection.execute(_SQL["history"]))


def apply_migrations(connection: psycopg.Connection[Any]) -> None:
    """Run the migrations that have not run, in one transaction: all of them or none.

    Raises:
        SchemaError: a lock was not available within 5 seconds, or the user may not create tables.
    """
    name = ""
    try:
        with connection.transaction():
            connection.execute(_SQL["limit_lock_wait"])
            connection.execute(_SQL["lock"])
            connection.execute(_SQL["set_older_tracker_aside"])
            connection.execute(_SQL["create_history"])
            ran = {migration.name for migration in _applied(connection)}
            for migration in known_migrations():
                if migration.name in ran:
                    continue
                name = migration.name
                connection.execute(migration.sql)
                values = {"name": name, "checksum": migration.checksum}
                connection.execute(_SQL["record"], values)
    except pg_errors.LockNotAvailable:
        raise SchemaError(
            f"{name} could not get its lock within 5 seconds and nothing was changed: end the long "
            "transaction on the ledger's tables and migrate again"
        ) from None
    except pg_errors.InsufficientPrivilege as error:
        raise SchemaError(
            f"{name or 'creating the tables'} was refused ({error.diag.message_primary}) and "
            "nothing was changed: migrate as a user who may create tables in this schema"
        ) from None
