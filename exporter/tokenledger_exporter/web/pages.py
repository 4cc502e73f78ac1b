"""The pages of the dashboard, rendered on the server: every figure comes from the same queries.

A page shows a figure with few digits; its `value` attribute has all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import jinja2

from tokenledger_exporter.db.dimensions import UTC, zone_of
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries import explain, summaries
from tokenledger_exporter.queries.calls import newest_calls
from tokenledger_exporter.queries.report import (
    EVERYTHING,
    ReportRequest,
    compared_steps,
    report_steps,
)
from tokenledger_exporter.render.report import render as render_report
from tokenledger_exporter.web.charts import bar_chart, share
from tokenledger_exporter.web.endpoints import REPORT_PARAMETERS, build_report, found_call
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import checked, conditions, period

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tokenledger_exporter.queries.report import ReportRow
    from tokenledger_exporter.web.endpoint import Connection

_PERIODS: Final = (
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("this", "This month"),
    ("last", "Last month"),
)
_TOP: Final = ("model", "feature", "user", "team")
_TOP_ROWS: Final = 5
_MAX_CALLS: Final = 500
_BLANK: Final = "(none)"
_CENT, _THOUSAND = Decimal("0.01"), Decimal(1_000)
_ZONE: Final = Parameter("timezone", "Time zone of days.", default=UTC)
_WHERE: Final = Parameter("where", "Filter DIMENSION=VALUE; repeatable.", "array")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its path, its parameters, and what it answers.

    Args:
        path: its path.
        parameters: its query parameters.
        answer: makes its text from a connection and the values.
        media_type: type of that text.
    """

    path: str
    parameters: tuple[Parameter, ...]
    answer: Callable[[Connection, dict[str, Any]], str]
    media_type: str = "text/html; charset=utf-8"


def money(value: Decimal | str | None) -> str:
    """An amount for people: few digits, more for a small one; `unknown` if it is not known."""
    if value is None:
        return "unknown"
    usd = Decimal(value)
    if abs(usd) >= _THOUSAND or not usd:
        return f"${usd:,.2f}"
    return f"${usd:,.4f}" if abs(usd) >= _CENT else f"${usd:,.6f}"


def exact(value: Decimal | str | None) -> str:
    """All digits of an amount, for the `value` of an element; empty if it is not known."""
    return "" if value is None else plain_usd(Decimal(value))


def change(row: ReportRow) -> str:
    """How a cost differs from the period before, in percent; empty if that says nothing."""
    now, before = row.known_cost_usd, row.known_previous_cost_usd
    if now is None or not before:
        return ""
    percent = 100 * (now - before) / before
    return f"{percent:+,.0f}%"


def link(path: str, **values: str | int | list[str] | None) -> str:
    """A path with a query string; empty values are left out, lists repeat their name."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        texts = value if isinstance(value, list) else ["" if value is None else str(value)]
        pairs += [(name, text) for text in texts if text]
    return f"{path}?{urlencode(pairs)}" if pairs else path


_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("tokenledger_exporter.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(money=money, exact=exact, visible=visible, change=change)
_GLOBALS: Final[dict[str, Any]] = _TEMPLATES.globals
_GLOBALS.update(link=link, share=share, periods=_PERIODS)


def html(name: str, **values: object) -> str:
    """The text of a page.

    Args:
        name: its template, which is the name of its entry in the navigation, too.
        values: what the template shows.
    """
    return _TEMPLATES.get_template(f"{name}.html").render(page=name, **values)


def _period(values: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The period of the overview. This month ends now, and so does its comparison."""
    name = values["period"]
    is_month = name in {"this", "last"}
    since, until = period(
        {
            "since": "" if is_month else name,
            "until": "now",
            "month": name if is_month else None,
            "timezone": values["timezone"],
        }
    )
    return since, min(until, summaries.until_now())


def _overview(connection: Connection, values: dict[str, Any]) -> str:
    since, until = _period(values)
    where, zone = conditions(values["where"]), values["timezone"]

    def request(*by: str, limit: int = EVERYTHING) -> ReportRequest:
        return ReportRequest(by, since, until, limit=limit, where=where, zone=zone)

    total = run_steps(connection, compared_steps(request()))
    by_day = run_steps(connection, report_steps(request("day")))
    known = {row.labels[0]: row.known_cost_usd for row in by_day.rows}
    days = [(day, known.get(day, Decimal(0))) for day in _days(since, until, zone)]
    errors = run_steps(connection, summaries.errors_steps(request()))
    tops = [
        (name, run_steps(connection, report_steps(request(name, limit=_TOP_ROWS)))) for name in _TOP
    ]
    month = run_steps(connection, summaries.month_steps(where))
    return html(
        "overview",
        values=values,
        total=total.totals,
        coverage=total.coverage,
        notes=total.notes,
        chart=bar_chart(days),
        month=None if month.coverage.knows_no_cost else month.cost_usd,
        month_method=month.method,
        errors=errors,
        tops=tops,
        blank=_BLANK,
    )


def _days(since: datetime, until: datetime, zone: str) -> list[str]:
    """Every day of a period, as a report names it."""
    zone_info = zone_of(zone)
    first = since.astimezone(zone_info).date()
    last = until.astimezone(zone_info) - timedelta(microseconds=1)
    return [str(first + timedelta(days=n)) for n in range((last.date() - first).days + 1)]


def _explore(connection: Connection, values: dict[str, Any]) -> str:
    with collect_sql() as statements:
        report = build_report(connection, values)
    highest = max((row.cost_usd for row in report.rows), default=Decimal(0))
    return html(
        "explore",
        values=values,
        report=report,
        statements=statements,
        highest=highest,
        query=_query(values),
        blank=_BLANK,
    )


def _query(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a page that are not their default, for its links."""
    defaults = {parameter.name: parameter.default for parameter in REPORT_PARAMETERS}
    return {name: value for name, value in values.items() if value != defaults.get(name)}


def _explore_csv(connection: Connection, values: dict[str, Any]) -> str:
    return render_report(build_report(connection, values), "csv")


def _calls(connection: Connection, values: dict[str, Any]) -> str:
    since, until = period({**values, "month": None})
    zone = checked("timezone", zone_of, values["timezone"])
    calls = newest_calls(connection, since, until, conditions(values["where"]), values["limit"])
    for call in calls:
        call["time"] = call["timestamp"].astimezone(zone)
    return html("calls", values=values, calls=calls, limit=values["limit"])


def _call(connection: Connection, values: dict[str, Any]) -> str:
    explanation = found_call(connection, values["event_id"])
    return html("call", explanation=explanation, document=explain.as_document(explanation))


PAGES: Final = (
    Page(
        "/",
        (
            Parameter("period", "Period.", default="30d", choices=tuple(n for n, _ in _PERIODS)),
            _ZONE,
            _WHERE,
        ),
        _overview,
    ),
    Page("/explore", REPORT_PARAMETERS, _explore),
    Page("/explore.csv", REPORT_PARAMETERS, _explore_csv, "text/csv; charset=utf-8"),
    Page(
        "/calls",
        (
            Parameter("since", "Start.", default="7d"),
            Parameter("until", "End.", default="now"),
            _ZONE,
            _WHERE,
            Parameter("limit", "Number of calls.", "integer", 100, maximum=_MAX_CALLS),
        ),
        _calls,
    ),
    Page("/calls/{event_id}", (), _call),
)
"""Every page."""
