"""All SQL of the exporter: migrations in `migrations/`, named statements in `*.sql`.

A statement opens with `-- name: <name>` and a comment line that says what it is for.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import LiteralString

_NAME_LINE: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def statements(file: str) -> Mapping[str, LiteralString]:
    """The named statements of one file, without their names.

    Args:
        file: file name without `.sql`.
    """
    text = (files("tokenledger_exporter.sql") / f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME_LINE.split(text)
    # The files ship with the package: their text is as literal as one in the source.
    return cast("Mapping[str, LiteralString]", dict(zip(parts[::2], parts[1::2], strict=True)))


@cache
def migration_files() -> Mapping[str, LiteralString]:
    """Every migration's SQL by its name, in the order they run."""
    folder = files("tokenledger_exporter.sql") / "migrations"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    found = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in entries
        if entry.name.endswith(".sql")
    }
    return cast("Mapping[str, LiteralString]", found)
