"""Draws columns as a terminal table that is as wide as the terminal, or 80 characters."""

from __future__ import annotations

import io
import re
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Text may be folded to this width, or to its own if it is narrower.
_MIN_TEXT_WIDTH: Final = 10
# Optional figures are left out for text up to this width.
_GOOD_TEXT_WIDTH: Final = 32
_PARTS: Final = re.compile(r"[^-/_.:@ ]*[-/_.:@ ]?")
_GAP: Final = 2
_RULE: Final = "─"
# Like box.SIMPLE, for terminals and files that cannot hold line drawing.
_ASCII_BOX: Final = box.Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        cells: its text, row by row.
        footer: its cell of the last row, below a rule; "" has none.
        is_number: aligned to the right and never broken.
        is_whole: text that is never broken, such as an id.
        is_optional: left out, with a note, if there is no room for it; the last one goes first.
    """

    title: str
    cells: Sequence[str]
    footer: str = ""
    is_number: bool = False
    is_whole: bool = False
    is_optional: bool = False

    def natural_width(self, *, stacks_title: bool) -> int:
        """The width of its longest line if nothing is folded."""
        title = self.title.split() if stacks_title else [self.title]
        return max(map(cell_len, (*title, *self.cells, self.footer)))

    @property
    def min_width(self) -> int:
        """The width that it needs at least."""
        width = self.natural_width(stacks_title=True)
        title = max(map(cell_len, self.title.split()), default=0)
        if self.is_number or self.is_whole:
            return width
        return max(min(width, _MIN_TEXT_WIDTH), title)

    @property
    def good_width(self) -> int:
        """The width in which its text need not be folded, unless it is very long."""
        width = self.natural_width(stacks_title=True)
        if self.is_number or self.is_whole:
            return width
        return min(width, max(_GOOD_TEXT_WIDTH, self.min_width))


def terminal_width() -> int:
    """The terminal's width or that of COLUMNS; 80 without either."""
    return Console().width


def remaining_room(columns: Sequence[Column]) -> int:
    """How wide one more column can be if nothing is folded; less than 0 if there is no room."""
    widths = [column.natural_width(stacks_title=False) for column in columns]
    return terminal_width() - _sum([*widths, 0])


def draw_table(columns: Sequence[Column], *, other_format: str = "csv") -> str:
    """The columns as text, ending with a line break.

    A line below names the columns without room, and the format that has them.
    """
    width = terminal_width()
    stacks_titles = _sum(c.natural_width(stacks_title=False) for c in columns) > width
    shown, hidden = list(columns), list[str]()
    while True:
        optional = [column for column in shown if column.is_optional]
        if _sum(column.min_width for column in shown) <= width:
            # Figures that can be left out go before a name is folded.
            optional = [column for column in optional if column.is_number]
            if _sum(column.good_width for column in shown) <= width:
                break
        if not optional:
            break
        shown.remove(optional[-1])
        hidden.insert(0, optional[-1].title)
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False)
    widths = _widths(shown, width, stacks_titles=stacks_titles)
    console.print(_table(shown, widths, stacks_titles=stacks_titles))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    if hidden:
        note = f"no room for {', '.join(hidden)}: use a wider terminal or --format {other_format}"
        lines += textwrap.wrap(note, width)
    return "\n".join([*lines, ""])


def _widths(columns: Sequence[Column], width: int, *, stacks_titles: bool) -> list[int | None]:
    """The width of each column: its natural one, and less for the widest text if need be."""
    widths = [column.natural_width(stacks_title=stacks_titles) for column in columns]
    least = [column.min_width for column in columns]
    while _sum(widths) > width:
        foldable = [number for number, _ in enumerate(columns) if widths[number] > least[number]]
        if not foldable:
            # Too narrow for anything; the numbers stay whole.
            return [None] * len(widths)
        widths[max(foldable, key=widths.__getitem__)] -= 1
    return [*widths]


def _folded(text: str, width: int) -> str:
    """Text in lines of at most this width, broken after spaces, hyphens, slashes and so on."""
    lines, line = list[str](), ""
    for part in _PARTS.findall(text):
        if line and cell_len((line + part).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += part
        while cell_len(line.rstrip()) > width:
            head = set_cell_size(line, width).rstrip()
            if not head or not line.startswith(head):
                break
            lines.append(head)
            line = line[len(head) :]
    return "\n".join([*lines, line.rstrip()]) if line.strip() or not lines else "\n".join(lines)


def _table(
    columns: Sequence[Column], widths: Sequence[int | None], *, stacks_titles: bool
) -> Table:
    table = Table(
        box=box.SIMPLE if can_show(_RULE) else _ASCII_BOX,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, _GAP - 1),
        show_footer=any(column.footer for column in columns),
    )
    for column, width in zip(columns, widths, strict=True):
        title = column.title.replace(" ", "\n") if stacks_titles else column.title
        table.add_column(
            title if column.is_number else column.title,
            footer=column.footer,
            justify="right" if column.is_number else "left",
            width=width,
            no_wrap=column.is_number or column.is_whole,
            overflow="fold",
        )
    cells = [
        column.cells
        if column.is_number or column.is_whole or width is None
        else [_folded(cell, width) for cell in column.cells]
        for column, width in zip(columns, widths, strict=True)
    ]
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _sum(widths: Iterable[int]) -> int:
    """The width of a table whose columns have these widths."""
    all_widths = list(widths)
    return sum(all_widths) + _GAP * (len(all_widths) - 1)


def can_show(text: str) -> bool:
    """Whether standard output can hold the text, which some encodings of Windows cannot."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
