"""The endpoint of errors, latency, tokens and the cache by any dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.queries.measures.measure import MEASURES
from tokenledger_exporter.render.documents import coverage_document
from tokenledger_exporter.render.measures import plain_row
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import (
    MAX_GROUPS,
    limit_parameter,
    period_parameters,
)
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_measured, period

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection


def _measures(connection: Connection, values: dict[str, Any]) -> Document:
    result = build_measured(connection, values)
    since, until = period(values)
    return {
        "measure": result.measure,
        "by": list(result.by),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "rows": [plain_row(result.by, row) for row in result.rows],
        "totals": plain_row((), result.totals),
        "coverage": coverage_document(result.totals.coverage),
    }


MEASURES_ENDPOINT: Final = Endpoint(
    "/measures",
    "measures",
    "Errors, latency, tokens or the cache by any dimensions",
    (
        Parameter("measure", "What to measure.", default="latency", choices=MEASURES),
        Parameter("by", "Dimensions, comma-separated; empty is the total.", default="model"),
        *period_parameters("7d"),
        limit_parameter(1_000, MAX_GROUPS),
    ),
    _measures,
    schemas.MEASURES,
)
"""`/measures`."""
