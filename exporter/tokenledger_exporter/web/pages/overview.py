"""The overview: cost against the period before, by day, the month, and the highest parts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.coverage import Coverage, sum_coverage
from tokenledger_exporter.domain.time_range import BEGINNING, END
from tokenledger_exporter.plain_text import visible_lines
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries import summaries
from tokenledger_exporter.queries.calls import newest_calls
from tokenledger_exporter.queries.over_time import month
from tokenledger_exporter.queries.report import compared_steps, report_steps
from tokenledger_exporter.queries.speed import reads_rollups
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.timeline import stacked
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View
from tokenledger_exporter.web.parameters import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from tokenledger_exporter.queries.over_time.month import MonthToDate
    from tokenledger_exporter.queries.report import Report, ReportRow
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/"
_TOP_PATH: Final = "/top"
_TOP: Final = ["model", "feature", "user", "team", "organization", "agent", "endpoint", "app"]
_TOP_ROWS: Final = 5
_MODEL: Final = "model"
_DIMENSION: Final = Parameter("dimension", "What to group by.", default=_MODEL, choices=tuple(_TOP))
_ZERO: Final = Decimal(0)


class _Top(NamedTuple):
    """One panel of highest costs.

    Args:
        dimension: what it groups by.
        report: its rows; `None` if it reads every call, so that the page shows it later.
    """

    dimension: str
    report: Report | None


class _MonthDay(NamedTuple):
    """One line of the month's table: cost from the start of a month to the end of a day."""

    day: int
    this: Decimal | None
    before: Decimal | None
    projected: Decimal | None


def _overview(connection: Connection, values: dict[str, Any]) -> str:
    view = View.of(_PATH, values)
    total = run_steps(connection, compared_steps(view.report()))
    return html(
        "overview",
        "overview",
        view,
        total=total.totals,
        report=total,
        timeline=stacked(connection, view, _MODEL),
        newest=None if total.totals.calls else _newest(connection),
        errors=run_steps(connection, summaries.errors_steps(view.report())),
    )


def _month(connection: Connection, values: dict[str, Any]) -> str:
    """The panel of the current month, which a browser loads after the page."""
    view = View.of(_PATH, values)
    to_date = run_steps(connection, month.month_to_date_steps(dict(view.where), view.zone))
    days = _month_days(to_date)
    return html("month", "", view, month=to_date, month_days=days, month_method=month.METHOD)


def _tops(connection: Connection, values: dict[str, Any]) -> str:
    """The panels below the charts, which a browser loads when they come into view."""
    view = View.of(_PATH, values)
    dimensions = [name for name in _TOP if name == _MODEL or name not in view.where]
    tops = [_top(connection, view, dimension) for dimension in dimensions]
    # A dimension that no call names is not shown; the model is always there.
    return html("tops", "", view, tops=[each for each in tops if not _is_blank(each)])


def _top(connection: Connection, view: View, dimension: str) -> _Top:
    request = view.report(dimension, limit=_TOP_ROWS)
    if not reads_rollups(request):
        return _Top(dimension, None)
    return _Top(dimension, run_steps(connection, report_steps(request)))


def _newest(connection: Connection) -> datetime | None:
    """The time of the newest call of the ledger; `None` if there is none."""
    calls = newest_calls(connection, BEGINNING, END, {}, 1)
    return calls[0]["timestamp"] if calls else None


def _is_blank(top: _Top) -> bool:
    if top.dimension == _MODEL or top.report is None:
        return False
    return not any(row.labels[0] for row in top.report.rows)


def _top_alone(connection: Connection, values: dict[str, Any]) -> str:
    """A panel that the overview loads once it is shown, because it reads every call."""
    view = View.of(_PATH, {name: values[name] for name in values if name != "dimension"})
    dimension = values["dimension"]
    report = run_steps(connection, report_steps(view.report(dimension, limit=_TOP_ROWS)))
    return html("top", "", view, top=_Top(dimension, report))


def _month_days(to_date: MonthToDate) -> list[_MonthDay]:
    """The running sums of both months, and the line to the projected end."""
    first = to_date.month
    following = (first + timedelta(days=31)).replace(day=1)
    last_day = (following - timedelta(days=1)).day
    before_first = (first - timedelta(days=1)).replace(day=1)
    today = last_day - to_date.remaining.days
    this = _running(first, today, to_date.days)
    before_days = (first - before_first).days
    before = _running(before_first, before_days, to_date.before_days)
    projected: dict[int, Decimal | None] = {}
    if to_date.projected_usd is not None:
        projected = {today: this[today], last_day: to_date.projected_usd}
    return [
        _MonthDay(day, this.get(day), before.get(day), projected.get(day))
        for day in range(1, max(last_day, before_days) + 1)
    ]


def _running(first: date, days: int, rows: Mapping[date, ReportRow]) -> dict[int, Decimal | None]:
    """The sum up to the end of each day of a month; `None` while no call has a known cost."""
    total, coverage = _ZERO, Coverage()
    sums: dict[int, Decimal | None] = {}
    for day in range(1, days + 1):
        row = rows.get(first.replace(day=day))
        if row is not None:
            total = MONEY.add(total, row.cost_usd)
            coverage = sum_coverage([coverage, row.coverage])
        sums[day] = None if coverage.knows_no_cost else total
    return sums


def _sql(connection: Connection, values: dict[str, Any]) -> str:
    with collect_sql() as statements:
        _overview(connection, values)
        _month(connection, values)
        _tops(connection, values)
    return "\n\n".join(f"{visible_lines(statement)};" for statement in statements) + "\n"


OVERVIEW: Final = (
    Page(_PATH, VIEW_PARAMETERS, _overview),
    Page("/month", VIEW_PARAMETERS, _month, is_part=True),
    Page("/tops", VIEW_PARAMETERS, _tops, is_part=True),
    Page(
        _TOP_PATH,
        (_DIMENSION, *VIEW_PARAMETERS),
        _top_alone,
        is_part=True,
    ),
    Page("/overview.sql", VIEW_PARAMETERS, _sql, "text/plain; charset=utf-8"),
)
"""The first page, the panels it loads later, and its SQL."""
