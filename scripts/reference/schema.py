"""The SQL reference: the comments of a migrated ledger, read from a real Postgres."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import psycopg
from click.testing import CliRunner

from scripts.reference.markdown import cell, code, escaped, table
from tokenledger_exporter.cli import main
from tokenledger_exporter.embedded.postgres import temporary_postgres

_SQL: Final = Path(__file__).with_name("schema.sql")


def sql_schema() -> str:
    """Every table and view with its columns."""
    with temporary_postgres({"fsync": "off"}) as url:
        migrated = CliRunner().invoke(main, ["db", "migrate", "--database-url", url])
        if migrated.exit_code:
            raise SystemExit(f"the ledger cannot be made: {migrated.output}")
        return described(url)


def described(url: str) -> str:
    """The reference of a migrated ledger."""
    statements = _statements()
    with psycopg.connect(url) as connection:
        relations = connection.execute(statements["relations"]).fetchall()
        parts = ["## Tables\n"]
        parts += [_relation(connection, row) for row in relations if not row[1]]
        parts.append("## Views\n")
        parts += [_relation(connection, row) for row in relations if row[1]]
    return "\n".join(parts)


def _relation(connection: psycopg.Connection[Any], row: tuple[Any, ...]) -> str:
    name, _, comment = row
    columns = connection.execute(_statements()["columns"], [name]).fetchall()
    rows = [
        (code(column), code(kind) + (" NOT NULL" if not_null else ""), cell(meaning or ""))
        for column, kind, not_null, meaning in columns
    ]
    text = escaped(comment or "")
    return f"### {name}\n\n{text}\n\n{table(('column', 'type', 'meaning'), rows)}"


def _statements() -> dict[str, bytes]:
    """Name -> statement, as the comment line before each names it."""
    parts = re.split(r"^-- (\w+):.*\n", _SQL.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        name: text.strip().rstrip(";").encode()
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
