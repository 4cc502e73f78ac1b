"""Renders a report as a table, CSV, JSON or Markdown.

Money in CSV, JSON and Markdown is a string with all its digits, never a float. A cost that is not
known for any call of a row is no figure: empty in CSV, null in JSON, "unknown" elsewhere. Labels
are untrusted text.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.plain_text import markdown_cell, visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.columns import Column, draw_table
from tokenledger_exporter.render.table import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.lists.runs import RunFigures
    from tokenledger_exporter.queries.report import Report, ReportRow

_FIGURES: Final = ("cost_usd", "calls", "input_tokens", "output_tokens", "cached_tokens")
_NO_COST: Final = "without cost"
_UNKNOWN: Final = "unknown"
_MORE: Final = "+"
COST_LEGEND: Final = f"{_MORE} the cost is higher: some of these calls have no known cost"
_ABOUT: Final = "~"
_LEGEND_ABOUT: Final = f"{_ABOUT} the cost is not exact: some calls are partial or estimated"
_KEPT: Final = frozenset({"cost $", "before $", "change $", "calls"})
# A table leaves these out if there is no room; the last one goes first.
_OPTIONAL: Final = frozenset({_NO_COST, "input tokens", "output tokens", "cached tokens"})


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
    since, until = report.compared_since, report.compared_until
    if since is None or until is None or report.previous is None:
        return {}
    period = {"since": since.isoformat(), "until": until.isoformat()}
    return {"compared_with": {**period, "coverage": asdict(report.previous)}}


def body(report: Report) -> tuple[ReportRow, ...]:
    """The rows to print; without dimensions, only the total."""
    return report.rows if report.by else (report.totals,)


def _plain_figures(row: ReportRow) -> dict[str, Any]:
    figures: dict[str, Any] = {name: getattr(row, name) for name in _FIGURES}
    figures |= {"cost_usd": _plain(row.known_cost_usd), "without_cost": row.coverage.without_cost}
    if row.previous_cost_usd is not None:
        figures["previous_cost_usd"] = _plain(row.known_previous_cost_usd)
        figures["change_usd"] = _plain(row.change_usd)
    return figures


def _plain(usd: Decimal | None) -> str | None:
    return None if usd is None else plain_usd(usd)


def _marked(text: str | None, *parts: Coverage | None) -> str:
    """An amount for people: whether it is known, and whether all of it is."""
    if text is None:
        return _UNKNOWN
    more = _MORE if any(part and part.without_cost for part in parts) else ""
    return text + more + (_ABOUT if any(part and part.is_uncertain for part in parts) else "")


def _json(report: Report) -> str:
    return json.dumps(as_document(report), indent=2) + "\n"


def _csv(report: Report) -> str:
    rows = ([*row.labels, *_plain_figures(row).values()] for row in body(report))
    return write_csv([*report.by, *_plain_figures(report.totals)], rows)


def _markdown(report: Report) -> str:
    figures = [name.replace("without_cost", _NO_COST) for name in _plain_figures(report.totals)]
    titles = [*map(markdown_cell, report.by), *figures]
    lines = [_line(titles), _line(["---"] * len(report.by) + ["---:"] * len(figures))]
    for row in body(report):
        labels = [markdown_cell(label) or "-" for label in row.labels]
        lines.append(_line([*labels, *_marked_figures(row)]))
    if report.by:
        totals = _marked_figures(report.totals)
        lines.append(_line(["**total**", *[""] * (len(report.by) - 1), *totals]))
    return "\n".join([*lines, "", *legend(report), report.coverage.sentence, ""])


def _marked_figures(row: ReportRow) -> list[str]:
    figures = _plain_figures(row)
    marks = {
        "cost_usd": (row.coverage,),
        "previous_cost_usd": (row.previous_coverage,),
        "change_usd": (),
    }
    return [
        _marked(value, *marks[name]) if name in marks else str(value)
        for name, value in figures.items()
    ]


def legend(report: Report) -> list[str]:
    """The lines that explain the marks of its costs."""
    rows = (*body(report), report.totals)
    return legend_of(
        [part for row in rows for part in (row.coverage, row.previous_coverage) if part]
    )


def legend_of(parts: Sequence[Coverage]) -> list[str]:
    """The lines that explain the marks of costs with these coverages; empty without marks."""
    lines = [COST_LEGEND] if any(part.with_cost and part.without_cost for part in parts) else []
    return lines + [_LEGEND_ABOUT] * any(part.is_uncertain for part in parts)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(report: Report) -> str:
    return table_of(report) + lines_below(report)


def lines_below(report: Report) -> str:
    """What a reader of the table must know: the mark and the coverage."""
    return "\n".join([*legend(report), report.coverage.sentence, ""])


def table_of(report: Report) -> str:
    """The table without the lines below it."""
    return draw_table(columns_of(report))


def columns_of(report: Report) -> list[Column]:
    """The columns of the table: the dimensions, then the figures."""
    rows = body(report)
    labels = [
        Column(
            title=visible(name),
            cells=[visible(row.labels[number]) or "-" for row in rows],
            footer="total" if number == 0 else "",
        )
        for number, name in enumerate(report.by)
    ]
    figures = [_shown_figures(row) for row in rows]
    columns = [
        Column(
            title=name,
            cells=[row[name] for row in figures],
            footer=total if report.by else "",
            is_number=True,
            is_optional=name in _OPTIONAL,
        )
        for name, total in _shown_figures(report.totals).items()
        # A column of nothing takes room from those that say something.
        if name in _KEPT or any(row[name] != "0" for row in (*figures, {name: total}))
    ]
    return [*labels, *columns]


def marked_cost(row: ReportRow | RunFigures) -> str:
    """The cost of a row or run as a table shows it."""
    return _marked(_rounded(row.known_cost_usd), row.coverage)


def _shown_figures(row: ReportRow) -> dict[str, str]:
    figures = {"cost $": marked_cost(row)}
    if row.previous_cost_usd is not None:
        before = _rounded(row.known_previous_cost_usd)
        figures["before $"] = _marked(before, row.previous_coverage)
        figures["change $"] = _marked(_rounded(row.change_usd, "+"))
    figures |= {"calls": f"{row.calls:,}", _NO_COST: f"{row.coverage.without_cost:,}"}
    return figures | {name.replace("_", " "): f"{getattr(row, name):,}" for name in _FIGURES[2:]}


def _rounded(usd: Decimal | None, sign: str = "") -> str | None:
    return None if usd is None else f"{usd:{sign},.6f}"


_SHAPES: Final[Mapping[str, Callable[[Report], str]]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "md": _markdown,
}
