"""An unknown cost is never a figure, and a sum that leaves calls out is marked."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.queries.report import Report, ReportRow
from tokenledger_exporter.render.report import render

SINCE = datetime(2026, 11, 1, tzinfo=timezone.utc)
UNTIL = datetime(2026, 11, 2, tzinfo=timezone.utc)
LEGEND = "+ the cost is higher: some of these calls have no known cost"


def group(label: str, cost: str, **figures: Any) -> ReportRow:  # noqa: ANN401 - any field
    coverage: Coverage = figures.pop("coverage")
    return ReportRow((label,), Decimal(cost), coverage.calls, 10, 1, 0, coverage, **figures)


def report(*rows: ReportRow, total: ReportRow) -> Report:
    return Report(("feature",), SINCE, UNTIL, rows, total)


ALL = group("chat", "0.3", coverage=Coverage(priced=2))
SOME = group("search", "0.2", coverage=Coverage(priced=1, unmeasured=1))
NONE = group("experiment", "0", coverage=Coverage(unpriced=3))
TOTAL = group("", "0.5", coverage=Coverage(priced=3, unpriced=3, unmeasured=1))
MIXED = report(ALL, SOME, NONE, total=TOTAL)


def cells(line: str) -> list[str]:
    return line.split()


def test_a_table_shows_unknown_and_marks_sums_that_leave_calls_out() -> None:
    lines = render(MIXED, "table").splitlines()
    costs = {cells(line)[0]: cells(line)[1] for line in lines[2:5]}
    assert costs == {"chat": "0.300000", "search": "0.200000+", "experiment": "unknown"}
    assert cells(lines[6])[:2] == ["total", "0.500000+"]
    assert lines[-2] == LEGEND


def test_csv_and_json_have_no_figure_for_an_unknown_cost() -> None:
    rows = list(csv.DictReader(io.StringIO(render(MIXED, "csv"))))
    assert [row["cost_usd"] for row in rows] == ["0.3", "0.2", ""]
    assert [row["without_cost"] for row in rows] == ["0", "1", "3"]
    document = json.loads(render(MIXED, "json"))
    assert [row["cost_usd"] for row in document["rows"]] == ["0.3", "0.2", None]
    assert document["totals"]["cost_usd"] == "0.5"


def test_markdown_shows_unknown_and_the_mark() -> None:
    lines = render(MIXED, "md").splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["0.3", "0.2+", "unknown"]
    assert lines[-2] == LEGEND


def test_without_a_mark_there_is_no_legend() -> None:
    complete = report(ALL, total=ALL)
    assert LEGEND not in render(complete, "table") + render(complete, "md")
    nothing_known = report(NONE, total=NONE)
    assert LEGEND not in render(nothing_known, "table")


def test_no_calls_cost_0() -> None:
    none = group("", "0", coverage=Coverage())
    assert json.loads(render(report(total=none), "json"))["totals"]["cost_usd"] == "0"


def test_a_change_from_an_unknown_cost_is_unknown() -> None:
    before = {"previous_cost_usd": Decimal(0), "previous_coverage": Coverage(unpriced=1)}
    row = group("chat", "0.3", coverage=Coverage(priced=2), **before)
    compared = report(row, total=row)
    [answer] = json.loads(render(compared, "json"))["rows"]
    assert (answer["previous_cost_usd"], answer["change_usd"]) == (None, None)
    assert cells(render(compared, "table").splitlines()[2])[1:4] == [
        "0.300000",
        "unknown",
        "unknown",
    ]


def test_columns_of_zeros_are_left_out_of_the_table() -> None:
    title = render(report(ALL, total=ALL), "table").splitlines()[0]
    assert title.split() == ["feature", "cost", "$", "calls", "input", "tokens", "output", "tokens"]
