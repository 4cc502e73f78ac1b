"""Renders a report as a table, CSV, JSON or Markdown.

Money in CSV, JSON and Markdown is a string with all its digits, never a float. Labels are untrusted
text.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.plain_text import markdown_cell, visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.table import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.queries.report import Report, ReportRow

_FIGURES: Final = ("cost_usd", "calls", "input_tokens", "output_tokens", "cached_tokens")
_NO_COST: Final = "without cost"


def render(report: Report, shape: str) -> str:
    """The report as text, ending with a line break.

    Args:
        report: what to print.
        shape: table, csv, json or md.
    """
    return _SHAPES[shape](report)


def as_document(report: Report) -> dict[str, Any]:
    """The JSON document: `schema_version`, `rows`, `totals`, `coverage`; money as strings."""
    return {
        "schema_version": SCHEMA_VERSION,
        "by": list(report.by),
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "rows": [
            {**dict(zip(report.by, row.labels, strict=True)), **_plain_figures(row)}
            for row in report.rows
        ],
        "totals": _plain_figures(report.totals),
        "coverage": {
            **asdict(report.coverage),
            "calls": report.coverage.calls,
            **({"notes": list(report.notes)} if report.notes else {}),
        },
        **({"as_of": report.as_of.isoformat()} if report.as_of else {}),
        **({"as_if": report.as_if} if report.as_if else {}),
        **({"timezone": report.zone} if report.zone != UTC else {}),
        **({"where": {k: list(v) for k, v in report.where.items()}} if report.where else {}),
        **_compared(report),
    }


def _compared(report: Report) -> dict[str, Any]:
    if report.compared_since is None or report.previous is None:
        return {}
    period = {"since": report.compared_since.isoformat(), "until": report.since.isoformat()}
    return {"compared_with": {**period, "coverage": asdict(report.previous)}}


def _body(report: Report) -> tuple[ReportRow, ...]:
    """The rows to print; without dimensions, only the total."""
    return report.rows if report.by else (report.totals,)


def _plain_figures(row: ReportRow) -> dict[str, Any]:
    figures: dict[str, Any] = {name: getattr(row, name) for name in _FIGURES}
    figures |= {"cost_usd": plain_usd(row.cost_usd), "without_cost": _without_cost(row)}
    if row.previous_cost_usd is not None and row.change_usd is not None:
        figures["previous_cost_usd"] = plain_usd(row.previous_cost_usd)
        figures["change_usd"] = plain_usd(row.change_usd)
    return figures


def _without_cost(row: ReportRow) -> int:
    return row.coverage.unpriced + row.coverage.unmeasured


def _json(report: Report) -> str:
    return json.dumps(as_document(report), indent=2) + "\n"


def _csv(report: Report) -> str:
    rows = ([*row.labels, *_plain_figures(row).values()] for row in _body(report))
    return write_csv([*report.by, *_plain_figures(report.totals)], rows)


def _markdown(report: Report) -> str:
    figures = [name.replace("without_cost", _NO_COST) for name in _plain_figures(report.totals)]
    titles = [*map(markdown_cell, report.by), *figures]
    lines = [_line(titles), _line(["---"] * len(report.by) + ["---:"] * len(figures))]
    for row in _body(report):
        labels = [markdown_cell(label) or "-" for label in row.labels]
        lines.append(_line([*labels, *map(str, _plain_figures(row).values())]))
    if report.by:
        totals = map(str, _plain_figures(report.totals).values())
        lines.append(_line(["**total**", *[""] * (len(report.by) - 1), *totals]))
    return "\n".join([*lines, "", report.coverage.sentence, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(report: Report) -> str:
    table = Table(show_footer=bool(report.by), header_style="bold", footer_style="bold")
    for number, name in enumerate(report.by):
        table.add_column(visible(name), footer="total" if number == 0 else "", overflow="fold")
    totals = _shown_figures(report.totals)
    for name, total in totals.items():
        table.add_column(name, footer=total, justify="right", no_wrap=True)
    for row in _body(report):
        table.add_row(
            *(visible(label) or "-" for label in row.labels), *_shown_figures(row).values()
        )
    text = io.StringIO()
    console = Console(file=text, width=None if _is_wide() else 120, highlight=False, markup=False)
    console.print(table)
    console.print(report.coverage.sentence, soft_wrap=True)
    return text.getvalue()


def _is_wide() -> bool:
    return Console().width >= 120  # noqa: PLR2004 - a narrower table would wrap the money columns


def _shown_figures(row: ReportRow) -> dict[str, str]:
    figures = {"cost $": f"{row.cost_usd:,.6f}"}
    figures |= {name.replace("_", " "): f"{getattr(row, name):,}" for name in _FIGURES[1:]}
    figures[_NO_COST] = f"{_without_cost(row):,}"
    if row.previous_cost_usd is not None and row.change_usd is not None:
        figures["before $"] = f"{row.previous_cost_usd:,.6f}"
        figures["change $"] = f"{row.change_usd:+,.6f}"
    return figures


_SHAPES: Final[Mapping[str, Callable[[Report], str]]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "md": _markdown,
}
