"""All SQL of the exporter: migrations in `migrations/`, named statements in `*.sql`.

A statement starts with `-- name: <name>` and a comment that says what it does. Calls of built-in
functions are qualified with `pg_catalog`, and keys of JSON documents are cast to text: otherwise a
role that may create objects in the ledger's schema could plant a function that matches better, and
the owner or a keeper would run it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import LiteralString

_NAME_LINE: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)

# A call of a built-in function: keywords are upper case in these files.
_BUILT_IN_CALL: Final = re.compile(r"(?<![\w.])(?!token_ledger_)([a-z][a-z0-9_]*\()")

# A JSON key without a cast: an operator planted for two JSON documents would match better.
_KEY: Final = re.compile(r"(->>? ?'\w*')(?!::)")


def trusted(text: str) -> LiteralString:
    """Mark text built from this package's constants as safe to use in a statement."""
    constant: LiteralString = cast("Any", text)
    return constant


_BRACE: Final = re.compile(r"\{(\w+)\}")


@cache
def statements(file: str) -> Mapping[str, LiteralString]:
    """The statements of one file by name.

    Args:
        file: file name without `.sql`.
    """
    text = (files("tokenledger_exporter.sql") / f"{file}.sql").read_text(encoding="utf-8")
    exact = _KEY.sub(r"\1::text", _BUILT_IN_CALL.sub(_qualified, text))
    _, *parts = _NAME_LINE.split(exact)
    # The files ship with the package, so their text is as trusted as a literal in the source.
    texts = (part.rstrip() for part in parts[1::2])
    return cast("Mapping[str, LiteralString]", dict(zip(parts[::2], texts, strict=True)))


def fragment(statement: LiteralString) -> LiteralString:
    """A part of other statements, without its comment."""
    lines = statement.splitlines()
    code = [line for line in lines if not line.startswith("--")]
    return trusted("\n".join(code).strip())


def fill(statement: LiteralString, **braces: LiteralString) -> LiteralString:
    """A statement with its braces filled; each line of a value gets the indent of the brace."""
    lines: list[str] = []
    for line in statement.splitlines():
        indent = line[: len(line) - len(line.lstrip())]

        def value(brace: re.Match[str], indent: str = indent) -> str:
            return braces[brace[1]].replace("\n", f"\n{indent}")

        lines.append(_BRACE.sub(value, line))
    return trusted("\n".join(lines))


def _qualified(call: re.Match[str]) -> str:
    # The form with several arrays only works unqualified; Postgres resolves it itself.
    if call[1] == "unnest(" and _has_several_arguments(call.string[call.end() :]):
        return call[1]
    return f"pg_catalog.{call[1]}"


def _has_several_arguments(text: str) -> bool:
    """Whether a comma comes before the closing parenthesis."""
    depth = 0
    for letter in text:
        if depth == 0 and letter in ",)":
            return letter == ","
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
    return False


@cache
def migration_files() -> Mapping[str, LiteralString]:
    """SQL of every migration by its name, in the order they run."""
    folder = files("tokenledger_exporter.sql") / "migrations"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    texts = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in entries
        if entry.name.endswith(".sql")
    }
    return cast("Mapping[str, LiteralString]", texts)
