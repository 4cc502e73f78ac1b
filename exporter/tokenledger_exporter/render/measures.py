"""Renders measures as CSV and as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenledger_exporter.render.documents import plain
from tokenledger_exporter.render.table import write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.queries.measures.measure import Measured, MeasureRow


def plain_row(by: Sequence[str], row: MeasureRow) -> dict[str, Any]:
    """A row as a JSON document: its labels, its calls and its figures."""
    figures = {name: plain(value) for name, value in row.figures.items()}
    return {**dict(zip(by, row.labels, strict=True)), "calls": row.calls, **figures}


def as_csv(result: Measured) -> str:
    """All rows as CSV; a figure that nothing was measured for is empty."""
    columns = [*result.by, "calls", *result.columns]
    rows = [plain_row(result.by, row) for row in result.rows or (result.totals,)]
    texts = ([_text(row[name]) for name in columns] for row in rows)
    return write_csv(columns, texts)


def _text(value: object) -> str:
    return "" if value is None else str(value)
