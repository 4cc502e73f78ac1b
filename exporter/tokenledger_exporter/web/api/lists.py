"""Endpoints of lists: calls, runs, users and tenants, page by page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.queries.lists.calls import LISTED_COLUMNS
from tokenledger_exporter.queries.lists.runs import RUN_LIST_COLUMNS
from tokenledger_exporter.render.documents import coverage_document, record
from tokenledger_exporter.render.run_list import run_list_document
from tokenledger_exporter.render.runs import run_document
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import period_parameters
from tokenledger_exporter.web.lists.calls import CALL_PARAMETERS, read_calls
from tokenledger_exporter.web.lists.runs import (
    RUN_LIST_PARAMETERS,
    RUN_PARAMETERS,
    read_run,
    read_runs,
)
from tokenledger_exporter.web.lists.spenders import (
    SPENDER_COLUMNS,
    SPENDER_PARAMETERS,
    read_spenders,
    spender_row,
)
from tokenledger_exporter.web.request_values import period

if TYPE_CHECKING:
    from tokenledger_exporter.queries.live.runs import Run
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

_PERIOD: Final = period_parameters("7d")
_PERIOD_OF_RUN: Final = tuple(each for each in _PERIOD if each.name != "where")


def _calls(connection: Connection, values: dict[str, Any]) -> Document:
    page = read_calls(connection, values, *period(values))
    return {
        "calls": [record({name: call[name] for name in LISTED_COLUMNS}) for call in page.calls],
        "newer": page.newer,
        "older": page.older,
    }


def _runs(connection: Connection, values: dict[str, Any]) -> Document:
    return run_list_document(read_runs(connection, values))


def _run(connection: Connection, values: dict[str, Any]) -> Document:
    run: Run = read_run(connection, values)
    return {"kind": run.kind, "run_id": run.run_id, **run_document(run)}


def _spenders(dimension: str, connection: Connection, values: dict[str, Any]) -> Document:
    page = read_spenders(connection, dimension, values)
    return {
        "dimension": dimension,
        "compared_since": page.compared_since.isoformat(),
        "compared_until": page.compared_until.isoformat(),
        "count": page.count,
        "rows": [record(spender_row(spender)) for spender in page.spenders],
        "total": record(spender_row(page.total)),
        "coverage": coverage_document(page.total.coverage),
    }


LIST_ENDPOINTS: Final = (
    Endpoint(
        "/calls",
        "calls",
        "Single calls, newest, costliest or slowest first, page by page with `older` and `newer`",
        (*_PERIOD, *CALL_PARAMETERS),
        _calls,
        schemas.calls(LISTED_COLUMNS),
    ),
    Endpoint(
        "/runs",
        "runs",
        "Traces (agent runs) or sessions with their cost",
        (*_PERIOD, *RUN_LIST_PARAMETERS),
        _runs,
        schemas.runs(RUN_LIST_COLUMNS),
    ),
    Endpoint(
        "/runs/{run_id}",
        "run",
        "One trace or session, call by call",
        (*_PERIOD_OF_RUN, *RUN_PARAMETERS),
        _run,
        schemas.RUN,
    ),
    Endpoint(
        "/users",
        "users",
        "Users, highest cost first, compared with the time before",
        (*_PERIOD, *SPENDER_PARAMETERS),
        partial(_spenders, "user"),
        schemas.spenders(SPENDER_COLUMNS),
    ),
    Endpoint(
        "/tenants",
        "tenants",
        "Organizations, highest cost first, compared with the time before",
        (*_PERIOD, *SPENDER_PARAMETERS),
        partial(_spenders, "organization"),
        schemas.spenders(SPENDER_COLUMNS),
    ),
)
"""The endpoints of lists."""
