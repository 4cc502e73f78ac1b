"""Creates or upgrades the ledger's schema and loads the price book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.migrations import (
    apply_migration,
    known_migrations,
    read_status,
)
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.pricing.catalog import genai_prices
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.db.migrations import (
        SchemaStatus,
    )

_SQL: Final = statements("migrations")


def migrate(database_url: str) -> SchemaStatus:
    """Run what is missing, load the price book, and return the new status.

    Raises:
        DatabaseUnreachableError: no connection could be had.
        SchemaError: the schema was made by an unreleased version, is newer or changed, or a lock
            could not be taken in 5 seconds. Nothing was changed.
    """
    with session(database_url) as connection:
        before = read_status(connection)
        if before.refusal:
            raise SchemaError(before.refusal)
        connection.rollback()
        for migration in known_migrations():
            apply_migration(connection, migration)
        genai_prices.import_package_prices(connection)
        connection.execute(_SQL["revoke_api_roles"])
        connection.commit()
        return read_status(connection)


def install_script() -> str:
    """Every migration as one script for a SQL editor; running it twice fails and changes nothing.

    After it, `tokenledger db status` says up to date. Prices are in it too: without them every
    call would be unpriced.
    """
    parts = ["BEGIN;", _SQL["create_history"].split("\n", 1)[1].strip() + ";"]
    for migration in known_migrations():
        parts += [
            migration.sql.strip(),
            (
                "INSERT INTO token_ledger_migrations (name, checksum) "
                f"VALUES ('{migration.name}', '{migration.checksum}');"
            ),
        ]
    parts += [genai_prices.script(), _SQL["revoke_api_roles"].split("\n", 1)[1].strip() + ";"]
    return "\n\n".join([*parts, "COMMIT;", ""])
