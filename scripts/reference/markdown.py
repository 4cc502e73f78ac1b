"""Markdown text: cells, tables and docstrings."""

from __future__ import annotations

import html
import inspect
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SECTIONS: Final = ("Args", "Returns", "Yields", "Raises", "Attributes")
_TITLES: Final = {"Args": "Arguments"}
_ITEM: Final = re.compile(r"^ {4}(\*{0,2}[\w.]+):\s*(.*)$")
_MARKUP: Final = re.compile(r"([<*\[\]]|(?<![^\W_])_|_(?![^\W_]))")
_BACKTICKED: Final = re.compile(r"(`[^`]*`)")


def escaped(text: str) -> str:
    """Text in which nothing but code spans is Markdown or HTML."""
    parts = _BACKTICKED.split(text)
    return "".join(part if part.startswith("`") else _MARKUP.sub(r"\\\1", part) for part in parts)


def cell(text: str) -> str:
    """Text as one cell of a table."""
    return " ".join(escaped(text).split()).replace("|", "\\|")


def code(text: str) -> str:
    """A code span that may stand in a table."""
    if "|" in text:
        # Renderers differ in what a backslash before a pipe means within backticks.
        return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def arguments(docstring: str) -> dict[str, str]:
    """Name -> meaning, of the `Args` section of a docstring in Google's style."""
    return dict(_items(_split(docstring).get("Args", [])))


def docstring_text(value: object) -> str:
    """An object's docstring as Markdown."""
    sections = _split(inspect.getdoc(value) or "")
    text = "\n".join(escaped(line) for line in sections.pop("", []))
    for name, lines in sections.items():
        items = _items(lines)
        body = (
            "\n".join(f"- `{item}`: {escaped(meaning)}" for item, meaning in items)
            if items
            else escaped(" ".join(line.strip() for line in lines))
        )
        text += f"\n\n**{_TITLES.get(name, name)}**\n\n{body}"
    return text.strip() + "\n"


def _split(docstring: str) -> dict[str, list[str]]:
    """Section -> its lines; the text before the first section is ""."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in inspect.cleandoc(docstring).splitlines():
        title = line.removesuffix(":")
        if line.endswith(":") and title in _SECTIONS:
            name = title
            sections[name] = []
        else:
            sections[name].append(line)
    return sections


def _items(lines: Sequence[str]) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for line in lines:
        if match := _ITEM.match(line):
            items.append((match[1], match[2]))
        elif items and line.strip():
            name, meaning = items[-1]
            items[-1] = (name, f"{meaning} {line.strip()}".strip())
    return items
