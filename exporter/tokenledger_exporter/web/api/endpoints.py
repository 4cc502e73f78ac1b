"""The endpoints of the JSON API, one table for routes, parameters, errors and OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import dimension_names
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import explain
from tokenledger_exporter.queries.live.ledger_state import read_state
from tokenledger_exporter.queries.paging import CallFilter, page_steps
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.render.documents import coverage_document, record
from tokenledger_exporter.render.report import as_document as report_document
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.budgets import BUDGET_ENDPOINTS
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.api.forecast import FORECAST_ENDPOINTS
from tokenledger_exporter.web.api.lists import LIST_ENDPOINTS
from tokenledger_exporter.web.api.measures import MEASURES_ENDPOINT
from tokenledger_exporter.web.api.older_api import OLDER_ENDPOINTS
from tokenledger_exporter.web.api.price_endpoints import PRICE_ENDPOINTS
from tokenledger_exporter.web.api.why import WHY_ENDPOINT
from tokenledger_exporter.web.ledger_parameters import (
    limit_parameter,
    period_parameters,
    report_parameters,
)
from tokenledger_exporter.web.parameters import Parameter, ParameterError
from tokenledger_exporter.web.request_values import (
    build_report,
    conditions,
    find_call,
    period,
)

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

_MAX_EVENTS: Final = 1_000
_SINCE: Final = "7d"
_PERIOD: Final = period_parameters(_SINCE)
_REPORT: Final = report_parameters(_SINCE, 1_000)


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


def _explain(connection: Connection, values: dict[str, Any]) -> Document:
    return explain.as_document(find_call(connection, values["event_id"]))


def _coverage(connection: Connection, values: dict[str, Any]) -> Document:
    since, until = period(values)
    where = conditions(values["where"])
    request = ReportRequest([], since, until, where=where, zone=values["timezone"])
    report = run_steps(connection, report_steps(request))
    return {**coverage_document(report.coverage), "notes": list(report.notes)}


def _ledger(connection: Connection, _values: dict[str, Any]) -> Document:
    state = read_state(connection)
    return {
        "state": state.worst,
        "asked_at": state.asked_at.isoformat(),
        "newest_call_at": state.newest_at and state.newest_at.isoformat(),
        "findings": [
            {
                "name": finding.name,
                "state": finding.state,
                "detail": finding.detail,
                "remedy": finding.remedy,
            }
            for finding in state.findings
        ],
    }


def _dimensions(_connection: Connection, _values: dict[str, Any]) -> Document:
    return {"dimensions": list(dimension_names())}


ENDPOINTS: Final = (
    *OLDER_ENDPOINTS,
    *LIST_ENDPOINTS,
    *BUDGET_ENDPOINTS,
    Endpoint(
        "/report",
        "report",
        "Cost by any dimensions",
        _REPORT,
        _report,
        schemas.REPORT,
    ),
    Endpoint(
        "/report/sql",
        "report_sql",
        "The SQL of a report, with its values; it runs in psql",
        _REPORT,
        _report_sql,
        schemas.SQL,
    ),
    MEASURES_ENDPOINT,
    WHY_ENDPOINT,
    *FORECAST_ENDPOINTS,
    Endpoint(
        "/events",
        "events",
        "Single calls, oldest first, page by page",
        (
            *_PERIOD,
            limit_parameter(100, _MAX_EVENTS),
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
    *PRICE_ENDPOINTS,
    Endpoint(
        "/ledger",
        "ledger",
        "The state of the ledger: what is well, what is not, and what to do",
        (),
        _ledger,
        schemas.LEDGER,
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
