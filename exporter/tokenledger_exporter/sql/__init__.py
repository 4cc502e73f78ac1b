"""All SQL of the exporter: migrations in `migrations/`, named statements in `*.sql`.

A statement opens with `-- name: <name>` and a comment line that says what it is for. Built-in
functions are called as `pg_catalog.<name>`, and keys of documents are texts by type: whoever may
create objects in the ledger's schema could make a better match, and the owner or a keeper would
run it.
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

# A call of a function that is not the ledger's own: keywords are upper case in these files.
_BUILT_IN_CALL: Final = re.compile(r"(?<![\w.])(?!token_ledger_)([a-z][a-z0-9_]*\()")

# A key of a document without a type: an operator between two documents would be the better match.
_KEY: Final = re.compile(r"(->>? ?'\w*')(?!::)")


@cache
def statements(file: str) -> Mapping[str, LiteralString]:
    """The named statements of one file, without their names.

    Args:
        file: file name without `.sql`.
    """
    text = (files("tokenledger_exporter.sql") / f"{file}.sql").read_text(encoding="utf-8")
    exact = _KEY.sub(r"\1::text", _BUILT_IN_CALL.sub(_qualified, text))
    _, *parts = _NAME_LINE.split(exact)
    # The files ship with the package: their text is as literal as one in the source.
    return cast("Mapping[str, LiteralString]", dict(zip(parts[::2], parts[1::2], strict=True)))


def _qualified(call: re.Match[str]) -> str:
    # Postgres itself qualifies the form with several arrays, and knows it by the bare name alone.
    if call[1] == "unnest(" and _has_several_arguments(call.string[call.end() :]):
        return call[1]
    return f"pg_catalog.{call[1]}"


def _has_several_arguments(text: str) -> bool:
    """Whether a comma comes before the parenthesis that is open ends."""
    depth = 0
    for letter in text:
        if depth == 0 and letter in ",)":
            return letter == ","
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
    return False


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
