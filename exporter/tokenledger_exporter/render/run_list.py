"""Renders a list of traces or sessions: a table with the total, other formats, or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_exporter.plain_text import counted, visible
from tokenledger_exporter.queries.lists.runs import RUN_LIST_COLUMNS, run_row
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.columns import Column, draw_table, terminal_width
from tokenledger_exporter.render.documents import coverage_document, record
from tokenledger_exporter.render.report import legend_of, marked_cost
from tokenledger_exporter.render.runs import span_text
from tokenledger_exporter.render.table import render_rows

if TYPE_CHECKING:
    from datetime import tzinfo

    from tokenledger_exporter.queries.lists.runs import RunFigures, RunPage
    from tokenledger_exporter.render.table import Cell

# From this width on, a table shows whole ids of traces and times.
_WIDE: Final = 130
_SHORT_ID: Final = 12
_NUMBERS: Final = frozenset({"took", "calls", "errors", "tokens", "cost $"})
_OPTIONAL: Final = frozenset({"feature", "took", "tokens"})


def run_list_document(page: RunPage) -> dict[str, Any]:
    """The list as JSON: money as strings, times in UTC."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": page.kind,
        "since": page.since.isoformat(),
        "is_cut": page.is_cut,
        "count": page.count,
        "runs": [record(run_row(run)) for run in page.runs],
        "total": record(run_row(page.total)),
        "coverage": coverage_document(page.coverage),
    }


def run_list(page: RunPage, shape: str, zone: tzinfo) -> str:
    """The list as text, ending with a line break.

    Args:
        page: the runs.
        shape: table (empty without runs), csv, json or md.
        zone: time zone of the times of a table.
    """
    if shape == "json":
        return json.dumps(run_list_document(page), indent=2) + "\n"
    if shape == "table":
        return _table(page, zone) if page.runs else ""
    return render_rows(RUN_LIST_COLUMNS, [plain_run(run) for run in page.runs], shape)


def plain_run(run: RunFigures) -> dict[str, Cell]:
    """A run with times and money as text; times are UTC."""
    return cast("dict[str, Cell]", record(run_row(run)))


def _table(page: RunPage, zone: tzinfo) -> str:
    is_wide = terminal_width() >= _WIDE
    rows = [_shown(run, page.kind, zone, is_wide=is_wide) for run in page.runs]
    totals = {
        page.kind: counted(page.count, page.kind),
        "calls": f"{page.total.calls:,}",
        "errors": f"{page.total.errors:,}",
        "tokens": f"{_tokens(page.total):,}",
        "cost $": marked_cost(page.total),
    }
    columns = [
        Column(
            title=title,
            cells=[row[title] for row in rows],
            footer=totals.get(title, ""),
            is_number=title in _NUMBERS,
            is_whole=title == "started" or (title, page.kind) == ("trace", "trace"),
            is_optional=title in _OPTIONAL,
        )
        for title in rows[0]
        if title in totals or any(row[title] != "-" for row in rows)
    ]
    legend = legend_of([run.coverage for run in (*page.runs, page.total)])
    return draw_table(columns) + "\n".join([*legend, page.coverage.sentence, ""])


def _shown(run: RunFigures, kind: str, zone: tzinfo, *, is_wide: bool) -> dict[str, str]:
    run_id = visible(run.run_id)
    is_short = kind == "trace" and not is_wide
    return {
        kind: run_id[:_SHORT_ID] if is_short else run_id,
        "started": _time(run, zone, is_wide=is_wide),
        "user": _several(run.user_id, has_more=run.has_users),
        "feature": _several(run.feature, has_more=run.has_features),
        "took": "-" if run.duration_seconds is None else span_text(run.duration_seconds),
        "calls": f"{run.calls:,}",
        "errors": f"{run.errors:,}",
        "tokens": f"{_tokens(run):,}",
        "cost $": marked_cost(run),
    }


def _time(run: RunFigures, zone: tzinfo, *, is_wide: bool) -> str:
    if run.started_at is None:
        return "-"
    local = run.started_at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}" if is_wide else f"{local:%m-%d %H:%M}"


def _several(name: str, *, has_more: bool) -> str:
    """A name, with a mark if the run has others too."""
    return f"{visible(name)} ..." if has_more else visible(name) or "-"


def _tokens(run: RunFigures) -> int:
    return run.input_tokens + run.output_tokens
