"""Renders rows as a table, CSV, JSON or Markdown; money is text with all its digits."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.plain_text import csv_cell, markdown_cell, visible
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.columns import Column, draw_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Cell = str | int | float | None

_NUMBER: Final = re.compile(r"[+-]?[\d,]+(\.\d+)?[+]?|unknown", re.ASCII)


def render_rows(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Cell]],
    shape: str,
    *,
    optional: Sequence[str] = (),
    whole: Sequence[str] = (),
    **more: object,
) -> str:
    """The rows as text, ending with a line break.

    Args:
        columns: what to print of each row, in order.
        rows: the rows; a table shows `None` as a dash and leaves out columns without content.
        shape: table (empty text if there are no rows), csv, json or md.
        optional: columns that a table leaves out if there is no room.
        whole: columns whose text a table never breaks.
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
    if shape == "md":
        return _markdown(columns, rows)
    return _table(columns, rows, optional, whole) if rows else ""


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


def _markdown(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> str:
    """A Markdown table with every column; what is not known is a dash."""
    is_number = [
        any(row[name] for row in rows) and all(_is_number(row[name]) for row in rows)
        for name in columns
    ]
    lines = [
        [markdown_cell(name) for name in columns],
        ["---:" if number else "---" for number in is_number],
        *(
            ["-" if row[name] in {None, ""} else markdown_cell(str(row[name])) for name in columns]
            for row in rows
        ),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Cell]],
    optional: Sequence[str],
    whole: Sequence[str],
) -> str:
    used = [name for name in columns if any(row[name] for row in rows)] or columns[:1]
    return draw_table(
        [
            Column(
                title=name.replace("_", " "),
                cells=[_cell_text(row[name]) for row in rows],
                is_number=all(map(_is_number, (row[name] for row in rows))),
                is_whole=name in whole,
                is_optional=name in optional,
            )
            for name in used
        ]
    )


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or not cell or _NUMBER.fullmatch(cell) is not None


def _cell_text(cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    return visible(cell) if isinstance(cell, str) else f"{cell:,}"
