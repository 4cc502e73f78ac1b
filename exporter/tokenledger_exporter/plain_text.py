"""Makes untrusted text safe to print in a terminal, in a CSV file and in Markdown.

Names come from the senders of calls. Printed unchanged, they could move a terminal's cursor, change
its clipboard, look like another row, or run as a spreadsheet formula. JSON needs none of this.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Control characters, formatting such as bidirectional overrides and tags, line and paragraph
# separators, lone surrogates.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# Joiners that emoji and several scripts are written with.
_JOINERS: Final = "\u200c\u200d"
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MAX_OF_BYTE: Final = 0xFF
_MAX_OF_PLANE: Final = 0xFFFF

# A spreadsheet runs a cell that begins with one of these characters, also in full width, after
# white space, or after a separator it may split at (OWASP, "CSV Injection", read 2026-11-22).
_SIGNS: Final = r"[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]"
_FORMULA: Final = re.compile(rf"(^|[;|])([\s\ufeff\u00a0\u200b\x00-\x1f\"']*)(?={_SIGNS})")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)

_MARKDOWN: Final = re.compile(
    r"[\\`*\[\]<>|~&$]"  # emphasis, code, links, images, HTML, cells, entities
    r"|!(?=\[)"
    r"|:(?=//)|@|(?<=www)\."  # links that need no brackets
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, not the underscores within a name
    r"|^[#+=-]+(?=\s|$)"
)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 call`, `2,000 calls`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def visible(text: str) -> str:
    """The text on one line, with escapes for characters that a terminal does not show."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def visible_lines(text: str) -> str:
    """The text with its line breaks, and escapes for other characters that are not visible."""
    return "\n".join(map(visible, text.split("\n")))


def csv_cell(text: str) -> str:
    """Text that a spreadsheet shows and does not run, with any cell separator."""
    if _NUMBER.fullmatch(text):
        return text
    return visible(_FORMULA.sub(r"\1'\2", text))


def markdown_cell(text: str) -> str:
    """Text that stays in its Markdown cell and is rendered unchanged."""
    return _MARKDOWN.sub(lambda match: f"\\{match[0]}", visible(" ".join(text.split())))


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _INVISIBLE or letter in _JOINERS:
        return letter
    if letter in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[letter]
    code = ord(letter)
    if code <= _MAX_OF_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _MAX_OF_PLANE else f"\\U{code:08x}"
