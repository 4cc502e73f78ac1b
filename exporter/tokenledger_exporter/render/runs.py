"""Renders what a trace or session cost: a table of its calls, or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.plain_text import counted, visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.calls import CALL_COLUMNS
from tokenledger_exporter.queries.live.runs import known_cost
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.calls import plain_call
from tokenledger_exporter.render.columns import Column, draw_table
from tokenledger_exporter.render.report import COST_LEGEND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import tzinfo
    from decimal import Decimal

    from tokenledger_exporter.queries.live.runs import Run, Step

_PART: Final = "+ "
# Longer texts may be broken.
_WHOLE: Final = {"model": 40, "remarks": 24}
_INDENT: Final = "  "
_MINUTE: Final = 60
_HOUR: Final = 3_600


def run_text(run: Run, zone: tzinfo, limit: int) -> str:
    """The run as text for a terminal: its calls by time, their sum, and its coverage."""
    shown = run.steps[:limit]
    lines = [_headline(run, zone), ""]
    table = draw_table(_columns(run, shown), other_format="json")
    below: list[str] = []
    if more := len(run.steps) - len(shown):
        verb = "is" if more == 1 else "are"
        below.append(f"{counted(more, 'later call')} {verb} in the total; --limit shows more")
    if run.coverage.with_cost and run.coverage.without_cost:
        below.append(COST_LEGEND)
    below.append(run.coverage.sentence)
    return "\n".join([*lines, table.rstrip("\n"), *below, ""])


def run_document(run: Run) -> dict[str, Any]:
    """The run as JSON: money as strings."""
    return {
        "schema_version": SCHEMA_VERSION,
        f"{run.kind}_id": run.run_id,
        "since": run.since.isoformat(),
        "until": run.until.isoformat(),
        "cost_usd": _plain(run.cost_usd),
        "calls": [
            {
                **_plain_row(step.call),
                "depth": step.depth,
                "total_cost_usd": _plain(known_cost(step.rows)),
                "parts": [_plain_row(part) for part in step.parts],
            }
            for step in run.steps
        ],
        "coverage": {
            **{name: getattr(run.coverage, name) for name in run.coverage.__dataclass_fields__},
            "calls": run.coverage.calls,
        },
    }


def run_json(run: Run) -> str:
    """`run_document` as text."""
    return json.dumps(run_document(run), indent=2) + "\n"


def _headline(run: Run, zone: tzinfo) -> str:
    first, last = run.steps[0].call["timestamp"], run.ended_at
    rows = sum(len(step.rows) for step in run.steps)
    parts = f" in {counted(rows, 'row')}" if rows > len(run.steps) else ""
    began, ended = first.astimezone(zone), last.astimezone(zone)
    until = f"{ended:%H:%M:%S}" if began.date() == ended.date() else f"{ended:%Y-%m-%d %H:%M:%S}"
    return (
        f"{run.kind} {visible(run.run_id)}\n"
        f"{counted(len(run.steps), 'call')}{parts}, {began:%Y-%m-%d %H:%M:%S} to {until} "
        f"{began:%Z} ({span_text((last - first).total_seconds())})"
    )


def _columns(run: Run, shown: Sequence[Step]) -> list[Column]:
    """The columns of the table, without those that are empty."""
    first = run.steps[0].call["timestamp"]
    lines = [line for number, step in enumerate(shown, 1) for line in _lines(number, step, first)]
    all_rows = [row for step in run.steps for row in step.rows]
    totals = {
        "model": "total",
        "tokens": f"{sum(row['total_tokens'] or 0 for row in all_rows):,}",
        "cost $": _amount(all_rows),
    }
    always = ("#", "model", "tokens", "cost $")
    return [
        Column(
            title=title,
            cells=[line[title] for line in lines],
            footer=totals.get(title, ""),
            is_number=title in {"#", "start", "took", "tokens", "cost $"},
            is_whole=title in _WHOLE and all(len(line[title]) <= _WHOLE[title] for line in lines),
            is_optional=title in {"start", "took", "feature", "agent"},
        )
        for title in lines[0]
        if title in always or any(line[title] for line in lines)
    ]


def _lines(number: int, step: Step, first: Any) -> list[dict[str, str]]:  # noqa: ANN401 - a datetime of a row
    """A line for the call, and one for each row if it has several."""
    call = step.call
    took = call["duration_ms"]
    line = {
        "#": str(number),
        "start": span_text((call["timestamp"] - first).total_seconds()),
        "model": _INDENT * step.depth + visible(call["model"]),
        "feature": visible(call["feature"]),
        "agent": visible(call["agent_id"]),
        "took": "" if took is None else span_text(took / 1_000),
        "tokens": _tokens(step.rows),
        "cost $": _amount(step.rows),
        "remarks": ", ".join(_remarks(step.rows)),
    }
    if not step.parts:
        return [line]
    empty = dict.fromkeys(line, "")
    return [
        line,
        *(
            {
                **empty,
                "model": f"{_INDENT * step.depth}{_PART}{visible(row['model'])}",
                "tokens": f"({_tokens([row])})",
                "cost $": f"({_amount([row])})",
            }
            for row in step.rows
        ),
    ]


def _tokens(rows: Iterable[Mapping[str, Any]]) -> str:
    counts = [row["total_tokens"] for row in rows if row["total_tokens"] is not None]
    return f"{sum(counts):,}" if counts else "-"


def _amount(rows: Sequence[Mapping[str, Any]]) -> str:
    cost = known_cost(rows)
    if cost is None:
        return "unknown"
    return f"{cost:,.6f}{'+' if any(row['cost_usd'] is None for row in rows) else ''}"


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not normal about a call: an error, other states of cost, possible duplicates."""
    call = rows[0]
    texts = [visible(call["error_type"]) or "error"] if call["status"] == "error" else []
    states = dict.fromkeys(row["cost_status"] for row in rows)
    texts += [state for state in states if state != "priced"]
    return texts + ([] if all(row["settled"] for row in rows) else ["not settled"])


def span_text(seconds: float) -> str:
    """A duration for people: seconds, minutes or hours."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:,.1f} h"


def _plain(usd: Decimal | None) -> str | None:
    return None if usd is None else plain_usd(usd)


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    values = plain_call(row)
    names = (*CALL_COLUMNS, "trace_id", "span_id", "agent_id", "settled")
    return {name: values[name] for name in names}
