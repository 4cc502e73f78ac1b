"""The endpoints of the JSON API, one table for routes, parameters, errors and OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import UTC, dimension_names
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.domain.time_expressions import parse_moment
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.catalog.lookup import listed
from tokenledger_exporter.queries import explain
from tokenledger_exporter.queries.calls import event_id_of
from tokenledger_exporter.queries.paging import CallFilter, page_steps
from tokenledger_exporter.queries.report import ReportRequest, compared_steps, report_steps
from tokenledger_exporter.render.report import as_document as report_document
from tokenledger_exporter.web import schemas
from tokenledger_exporter.web.documents import coverage_document, record
from tokenledger_exporter.web.endpoint import Endpoint
from tokenledger_exporter.web.older_api import OLDER_ENDPOINTS
from tokenledger_exporter.web.parameters import NotFoundError, Parameter, ParameterError
from tokenledger_exporter.web.request_values import checked, conditions, period, report_request

if TYPE_CHECKING:
    from tokenledger_exporter.queries.explain import Explanation
    from tokenledger_exporter.queries.report import Report
    from tokenledger_exporter.web.documents import Document
    from tokenledger_exporter.web.endpoint import Connection

_MAX_GROUPS: Final = 10_000
_MAX_EVENTS: Final = 1_000


def _limit(default: int, maximum: int) -> Parameter:
    return Parameter("limit", "Maximum number of entries.", "integer", default, maximum=maximum)


_WHERE: Final = Parameter(
    "where",
    "Filter DIMENSION=VALUE; repeatable. Values of one dimension are alternatives.",
    "array",
)
_ZONE: Final = Parameter("timezone", "Time zone of hours, days and months.", default=UTC)
_PERIOD: Final = (
    Parameter("since", "Start: 7d, 24h, today, 2026-11-01 ...", default="7d"),
    Parameter("until", "End, in the same forms; a named day is included.", default="now"),
    Parameter("month", "A whole month instead: 2026-10, last or this."),
    _ZONE,
    _WHERE,
)
_COMPARE: Final = Parameter(
    "compare", "Compare with the period of equal length before it.", "boolean", default=False
)
REPORT_PARAMETERS: Final = (
    Parameter("by", "Dimensions, comma-separated; empty is the total.", default="model"),
    *_PERIOD,
    Parameter("sort", "cost, calls, tokens or a dimension of `by`."),
    _limit(1_000, _MAX_GROUPS),
    _COMPARE,
)
"""The parameters of a report."""


def build_report(connection: Connection, values: dict[str, Any]) -> Report:
    """The report of a request, compared with the period before if it says so."""
    request = report_request(values)
    steps = compared_steps(request) if values["compare"] else report_steps(request)
    return run_steps(connection, steps)


def _report(connection: Connection, values: dict[str, Any]) -> Document:
    return report_document(build_report(connection, values))


def _report_sql(connection: Connection, values: dict[str, Any]) -> Document:
    with collect_sql() as statements:
        build_report(connection, values)
    return {"statements": statements}


def _events(connection: Connection, values: dict[str, Any]) -> Document:
    since, until = period(values)
    calls = CallFilter(since, until, conditions(values["where"]))
    cursor = values["cursor"]
    try:
        page = run_steps(connection, page_steps(calls, values["limit"], cursor))
    except InvalidRequestError as error:
        if cursor is not None and "cursor" in str(error):
            raise ParameterError("cursor", str(error)) from None
        raise
    coverage = coverage_document(page.coverage)
    # A page does not compare the costs with the reported ones.
    del coverage["cost_differs"]
    return {
        "events": [record(event._asdict()) for event in page.events],
        "next_cursor": page.next_cursor,
        "coverage": coverage,
    }


def found_call(connection: Connection, text: str) -> Explanation:
    """The call that a path names by its id or the start of it, with its explanation.

    Raises:
        ParameterError: it is not such a text; `NotFoundError`: no call, or several calls, have it.
    """
    try:
        return explain.explain_event(connection, event_id_of(connection, text))
    except InvalidRequestError as error:
        kind = ParameterError if str(error).startswith("invalid event id") else NotFoundError
        raise kind("event_id", str(error)) from None


def _explain(connection: Connection, values: dict[str, Any]) -> Document:
    return explain.as_document(found_call(connection, values["event_id"]))


def _coverage(connection: Connection, values: dict[str, Any]) -> Document:
    since, until = period(values)
    where = conditions(values["where"])
    request = ReportRequest([], since, until, where=where, zone=values["timezone"])
    report = run_steps(connection, report_steps(request))
    return {**coverage_document(report.coverage), "notes": list(report.notes)}


def _prices(connection: Connection, values: dict[str, Any]) -> list[Document]:
    provider = values["provider"]
    day = checked("at", parse_moment, values["at"]).date()
    name = ledger_name(provider) if provider else None
    return [record(row) for row in listed(connection, name, values["model"], day)]


def _dimensions(_connection: Connection, _values: dict[str, Any]) -> Document:
    return {"dimensions": list(dimension_names())}


ENDPOINTS: Final = (
    *OLDER_ENDPOINTS,
    Endpoint(
        "/report",
        "report",
        "Cost by any dimensions",
        REPORT_PARAMETERS,
        _report,
        schemas.REPORT,
    ),
    Endpoint(
        "/report/sql",
        "report_sql",
        "The SQL of a report, with its values; it runs in psql",
        REPORT_PARAMETERS,
        _report_sql,
        schemas.SQL,
    ),
    Endpoint(
        "/events",
        "events",
        "Single calls, oldest first, page by page",
        (
            *_PERIOD,
            _limit(100, _MAX_EVENTS),
            Parameter("cursor", "`next_cursor` of the page before."),
        ),
        _events,
        schemas.EVENTS,
    ),
    Endpoint(
        "/events/{event_id}/explain",
        "explain",
        "How the cost of a call was calculated",
        (),
        _explain,
        schemas.EXPLAIN,
    ),
    Endpoint(
        "/coverage",
        "coverage",
        "How many calls of a period have which cost status, and how many are lost",
        _PERIOD,
        _coverage,
        schemas.COVERAGE,
    ),
    Endpoint(
        "/prices",
        "prices",
        "Price sheets that are valid on a day, US dollars per million tokens",
        (
            Parameter("provider", "Only this provider."),
            Parameter("model", "Only sheets that match this model name."),
            Parameter("at", "The day: today, 2026-11-01 ...", default="now"),
        ),
        _prices,
        schemas.PRICES,
    ),
    Endpoint(
        "/dimensions",
        "dimensions",
        "Names that `by` and `where` take",
        (),
        _dimensions,
        schemas.DIMENSIONS,
    ),
)
"""Every endpoint of the API."""
