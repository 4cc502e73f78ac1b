"""Creates or upgrades the ledger's schema and loads the price book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.migrations import (
    apply_migrations,
    known_migrations,
    read_status,
)
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.pricing.catalog import genai_prices
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.db.migrations import Migration, SchemaStatus

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
        apply_migrations(connection)
        genai_prices.import_package_prices(connection)
        connection.execute(_SQL["revoke_api_roles"])
        connection.commit()
        return read_status(connection)


def install_script() -> str:
    """Every migration as one script for a SQL editor; a second run changes nothing.

    After it, `tokenledger db status` says up to date. Prices are in it too: without them every
    call would be unpriced.
    """
    parts = ["BEGIN;", f"{_SQL['set_older_tracker_aside']};", f"{_SQL['create_history']};"]
    parts += map(_run_once, known_migrations())
    parts += [genai_prices.script(), f"{_SQL['revoke_api_roles']};"]
    return "\n\n".join([*parts, "COMMIT;", ""])


def _run_once(migration: Migration) -> str:
    return (
        f"DO $once$ BEGIN\n"
        f"IF EXISTS (SELECT FROM token_ledger_migrations WHERE name = '{migration.name}') THEN\n"
        "    RETURN;\n"
        "END IF;\n"
        f"EXECUTE $file$\n{migration.sql.strip()}\n$file$;\n"
        "INSERT INTO token_ledger_migrations (name, checksum)\n"
        f"VALUES ('{migration.name}', '{migration.checksum}');\n"
        "END $once$;"
    )
