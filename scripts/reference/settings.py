"""The table of `configure()`'s options, from the contract."""

from __future__ import annotations

from dataclasses import MISSING, fields

from scripts.reference.markdown import arguments, cell, code, table
from tokenledger_semconv.settings import ALIASES, Settings


def settings_table() -> str:
    """Every option with its default and its meaning."""
    meanings = arguments(Settings.__doc__ or "")
    rows: list[tuple[str, str, str]] = []
    for option in fields(Settings):
        default: object = option.default
        if option.default_factory is not MISSING:
            default = option.default_factory()
        name, meaning = option.name, cell(meanings[option.name])
        aliases = ", ".join(code(alias) for alias, meant in ALIASES.items() if meant == name)
        also = f" (also {aliases})" if aliases else ""
        text = repr(default) if default != "" else ""
        rows.append((code(name) + also, code(text), meaning))
    return table(("option", "default", "meaning"), rows)
