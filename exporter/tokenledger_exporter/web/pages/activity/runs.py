"""Traces (agent runs) and sessions: the list, and one of them step by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.lists.runs import MAX_CALLS, RUN_LIST_COLUMNS, run_row
from tokenledger_exporter.queries.live.runs import known_cost
from tokenledger_exporter.web.lists.runs import (
    RUN_LIST_PARAMETERS,
    RUN_PARAMETERS,
    read_run,
    read_runs,
)
from tokenledger_exporter.web.pages.listing import CSV, changed, csv_of, path_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, link

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenledger_exporter.queries.live.runs import Run, Step
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/runs"
_LIST: Final = (*VIEW_PARAMETERS, *RUN_LIST_PARAMETERS)
_ONE: Final = (*VIEW_PARAMETERS, *RUN_PARAMETERS)
_MAX_STEPS: Final = 500
_MAX_DEPTH: Final = 8
_MOMENT: Final = timedelta(seconds=1)
_STEP_COLUMNS: Final = (
    *("step", "timestamp", "event_id", "depth", "model", "provider", "feature", "agent_id"),
    *("duration_ms", "total_tokens", "cost_usd", "cost_so_far_usd", "cost_status", "status"),
    *("error_type", "trace_id", "span_id"),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One step of a run, with what the run cost up to and including it.

    Args:
        number: its place, from 1.
        tokens: the sum of its rows; `None` if no row has a count.
        cost_usd: the known cost of its rows; `None` if none is known.
        cost_so_far_usd: the known cost of all steps up to it; `None` if none is known.
        indent: how far to the right it is shown.
    """

    number: int
    step: Step
    tokens: int | None
    cost_usd: Decimal | None
    cost_so_far_usd: Decimal | None
    indent: int

    @property
    def statuses(self) -> list[str]:
        """The statuses of its cost that are not `priced`."""
        states = dict.fromkeys(row["cost_status"] for row in self.step.rows)
        return [state for state in states if state != "priced"]


def _runs(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values, RUN_LIST_PARAMETERS)
    with collect_sql() as statements:
        page = read_runs(connection, values)
    own_values = changed(values, RUN_LIST_PARAMETERS)
    return html(
        "runs",
        "runs",
        view,
        values=values,
        page=page,
        max_calls=MAX_CALLS,
        highest=max((run.cost_usd for run in page.runs), default=0),
        margin=_MOMENT,
        statements=statements,
        files=(
            view.link("/runs.csv", **own_values),
            view.link("/api/v1/runs", **{"since": values["since"], **own_values}),
        ),
    )


def _runs_csv(connection: Connection, values: dict[str, Any]) -> str:
    return csv_of(RUN_LIST_COLUMNS, [run_row(run) for run in read_runs(connection, values).runs])


def _run(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values)
    with collect_sql() as statements:
        run = read_run(connection, values)
    path = path_of(_PATH, run.run_id)
    lines = _lines(run)
    own_values = changed(values, (*VIEW_PARAMETERS, *RUN_PARAMETERS))
    own_values.pop("where", None)
    calls = [step.call for step in run.steps]
    names = {
        column: list(dict.fromkeys(call[column] for call in calls if call[column]))
        for column in ("user_id", "feature", "agent_id", "session_id", "trace_id")
    }
    return html(
        "run",
        "runs",
        view,
        run=run,
        lines=lines[:_MAX_STEPS],
        count=len(lines),
        names=names,
        errors=sum(call["status"] == "error" for call in calls),
        tokens=sum(line.tokens or 0 for line in lines),
        started_at=calls[0]["timestamp"],
        is_narrow=bool(values["after"] or values["before"]),
        statements=statements,
        files=(
            link(f"/csv{path}", own_values),
            link(f"/api/v1{path}", {"since": values["since"], **own_values}),
        ),
    )


def _run_csv(connection: Connection, values: dict[str, Any]) -> str:
    lines = _lines(read_run(connection, {**values, "where": []}))
    return csv_of(_STEP_COLUMNS, [_row(line) for line in lines])


def _row(line: _Line) -> dict[str, Any]:
    """A step as flat values: the fields of its call, the sums of its rows."""
    return {
        **line.step.call,
        "step": line.number,
        "depth": line.step.depth,
        "total_tokens": line.tokens,
        "cost_usd": line.cost_usd,
        "cost_so_far_usd": line.cost_so_far_usd,
        "cost_status": ", ".join(dict.fromkeys(row["cost_status"] for row in line.step.rows)),
    }


def _lines(run: Run) -> list[_Line]:
    lines: list[_Line] = []
    so_far: Decimal | None = None
    for number, step in enumerate(run.steps, 1):
        cost = known_cost(step.rows)
        if cost is not None:
            so_far = cost if so_far is None else MONEY.add(so_far, cost)
        counts = [row["total_tokens"] for row in step.rows if row["total_tokens"] is not None]
        lines.append(
            _Line(
                number=number,
                step=step,
                tokens=sum(counts) if counts else None,
                cost_usd=cost,
                cost_so_far_usd=so_far,
                indent=min(step.depth, _MAX_DEPTH),
            )
        )
    return lines


RUNS: Final = (
    Page(_PATH, _LIST, _runs),
    Page("/runs.csv", _LIST, _runs_csv, CSV),
    Page("/runs/{run_id:path}", _ONE, _run),
    Page("/csv/runs/{run_id:path}", _ONE, _run_csv, CSV),
)
"""The list and one run, and both as CSV."""
