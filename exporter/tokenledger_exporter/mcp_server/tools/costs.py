"""Tools about sums: a report, the causes of a change, the coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.mcp_server.answer import Answer, utc
from tokenledger_exporter.mcp_server.arguments import (
    SINCE,
    UNTIL,
    WHERE,
    Argument,
    ArgumentError,
    checked_dimensions,
    limit_argument,
    period_of,
    where_of,
)
from tokenledger_exporter.mcp_server.tools.tool import LedgerTool
from tokenledger_exporter.queries.order import BY_TIME
from tokenledger_exporter.queries.report import ReportRequest, compared_steps, report_steps
from tokenledger_exporter.queries.why import WhyRequest, why_steps
from tokenledger_exporter.render.report import as_document
from tokenledger_exporter.render.why import why_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.mcp_server.tools.tool import Connection
    from tokenledger_exporter.queries.report import Report

_DIMENSIONS: Final = ", ".join(dimension_names())
_VALUES: Final = ", ".join(name for name in dimension_names() if name not in BUCKETS)
_BY: Final = Argument(
    "by",
    f"Dimensions to group by, such as ['feature', 'model']; [] is the total. Any of: {_DIMENSIONS}",
    "array",
    default=["model"],
)
_COMPARE: Final = Argument(
    "compare", "Compare with the preceding period.", "boolean", default=False
)
_DETAIL: Final = Argument(
    "detail",
    "true reads every call, which splits the cost per token into output share, cache share, "
    "service tier and price. Left out, it does so if there are at most 100,000 calls.",
    "boolean",
)
_DRIVERS: Final = 20


def _cost_report(connection: Connection, values: Mapping[str, Any]) -> Answer:
    since, until = period_of(values)
    by = checked_dimensions("by", values["by"])
    if values["compare"] and (units := [name for name in by if name in BUCKETS]):
        raise ArgumentError("by", f"{units[0]!r} cannot be compared: use one of {_VALUES}")
    limit = values["limit"]
    # One more row shows whether there are more than the limit.
    request = ReportRequest(by, since, until, limit + 1, where=where_of(values), order_by=BY_TIME)
    steps = compared_steps if values["compare"] else report_steps
    report = run_steps(connection, steps(request))
    document = as_document(report)
    rows: list[Any] = document["rows"][:limit] if by else []
    return Answer(
        data=_data(document, rows, report),
        coverage=report.coverage.sentence,
        entries="rows",
        since=since,
        until=until,
        where=report.where,
        is_cut=len(document["rows"]) > limit,
        notes=report.notes,
    )


def _data(document: dict[str, Any], rows: list[Any], report: Report) -> dict[str, Any]:
    data = {"by": document["by"], "rows": rows, "totals": document["totals"]}
    if report.compared_since is not None and report.previous is not None:
        data["compared_with"] = {
            "since": utc(report.compared_since),
            "until": utc(report.compared_until or report.since),
            "coverage": report.previous.sentence,
        }
    return data


def _why_changed(connection: Connection, values: Mapping[str, Any]) -> Answer:
    since, until = period_of(values)
    [by] = checked_dimensions("by", [values["by"]])
    if by in BUCKETS:
        raise ArgumentError("by", f"{by!r} cannot be compared: use one of {_VALUES}")
    request = WhyRequest(by, since, until, where_of(values), values["detail"])
    report = run_steps(connection, why_steps(request))
    document = why_document(report, limit=values["limit"])
    names = ("by", "cost_usd", "previous_cost_usd", "change_usd", "calls", "previous_calls")
    more = any(cause["more_drivers"] for cause in document["causes"])
    return Answer(
        data={
            **{name: document[name] for name in names},
            "compared_with": {
                "since": utc(report.compared_since),
                "until": utc(report.compared_until),
                "coverage": report.previous_coverage.sentence,
            },
            "is_detailed": report.is_detailed,
            "causes": document["causes"],
        },
        coverage=report.coverage.sentence,
        entries="causes",
        since=since,
        until=until,
        where=report.where,
        notes=(
            *report.notes,
            *(["some causes have more drivers: see 'more_drivers', and raise 'limit'"] * more),
        ),
        narrow="use a smaller 'limit' or a filter in 'where'",
    )


def _coverage(connection: Connection, values: Mapping[str, Any]) -> Answer:
    since, until = period_of(values)
    request = ReportRequest((), since, until, where=where_of(values))
    report = run_steps(connection, report_steps(request))
    document = as_document(report)["coverage"]
    document.pop("notes", None)
    return Answer(
        data={
            **document,
            "cost_usd": as_document(report)["totals"]["cost_usd"],
            "without_cost": report.coverage.without_cost,
        },
        coverage=report.coverage.sentence,
        since=since,
        until=until,
        where=report.where,
        notes=report.notes,
    )


COST_TOOLS: Final = (
    LedgerTool(
        "cost_report",
        "Cost report",
        "What LLM calls cost in a period, by any dimensions, highest cost first, with the total. "
        "Use it for 'what did X cost' and 'who costs most'.",
        (_BY, SINCE, UNTIL, WHERE, _COMPARE, limit_argument(50, 500, "rows")),
        _cost_report,
    ),
    LedgerTool(
        "why_changed",
        "Why the cost changed",
        "Why the cost of a period differs from the preceding period of equal length: causes that "
        "add up to the difference exactly (number of calls, model mix, tokens per call, price "
        "...), largest first, each with the values that drive it.",
        (
            Argument("by", f"Dimension to compare, one of: {_VALUES}", default="feature"),
            SINCE,
            UNTIL,
            WHERE,
            _DETAIL,
            limit_argument(_DRIVERS, 200, "drivers of a cause"),
        ),
        _why_changed,
    ),
    LedgerTool(
        "coverage",
        "Coverage",
        "How much of the cost of a period is known: how many calls are priced, partial, "
        "estimated, unpriced, unmeasured or lost. Use it before trusting a total.",
        (SINCE, UNTIL, WHERE),
        _coverage,
    ),
)
"""Tools about sums."""
