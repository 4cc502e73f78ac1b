"""Renders rows as a table, CSV or JSON; money is text with all its digits."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from tokenledger_exporter.plain_text import csv_cell, visible
from tokenledger_exporter.queries.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Cell = str | int | None

_WIDTH: Final = 120


def render_rows(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Cell]],
    shape: str,
    **more: object,
) -> str:
    """The rows as text, ending with a line break.

    Args:
        columns: what to print of each row, in order.
        rows: the rows; a table shows `None` as a dash.
        shape: table (empty text if there are no rows), csv or json.
        more: more fields of the JSON document.
    """
    if shape == "json":
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            **more,
            "rows": [{name: row[name] for name in columns} for row in rows],
        }
        return json.dumps(document, indent=2) + "\n"
    if shape == "csv":
        return write_csv(columns, ([row[name] for name in columns] for row in rows))
    return _table(columns, rows) if rows else ""


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Rows as CSV: text is quoted and contains no line breaks."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(csv_cell, columns))
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        writer.writerow(
            ["" if c is None else csv_cell(c) if isinstance(c, str) else c for c in row]
        )
    return text.getvalue()


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> str:
    table = Table(header_style="bold")
    for name in columns:
        is_count = all(isinstance(row[name], int) for row in rows)
        table.add_column(
            name.replace("_", " "), justify="right" if is_count else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(_cell_text(row[name]) for name in columns))
    text = io.StringIO()
    wide = Console().width >= _WIDTH
    console = Console(file=text, width=None if wide else _WIDTH, highlight=False, markup=False)
    console.print(table)
    return text.getvalue()


def _cell_text(cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    return f"{cell:,}" if isinstance(cell, int) else visible(cell)
