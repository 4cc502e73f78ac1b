"""The endpoint that says why a cost changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import group
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.why import WhyRequest, why_steps
from tokenledger_exporter.render.why import why_document
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import limit_parameter, period_parameters
from tokenledger_exporter.web.parameters import Parameter, ParameterError
from tokenledger_exporter.web.request_values import checked, conditions, period

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

_MAX_DRIVERS: Final = 1_000


def _why(connection: Connection, values: dict[str, Any]) -> Document:
    since, until = period(values)
    checked("by", group, values["by"])
    where = conditions(values["where"])
    request = WhyRequest(values["by"], since, until, where=where, zone=values["timezone"])
    try:
        report = run_steps(connection, why_steps(request))
    except InvalidRequestError as error:
        raise ParameterError("by", str(error)) from None
    return why_document(report, limit=values["limit"])


WHY_ENDPOINT: Final = Endpoint(
    "/why",
    "why",
    "Why the cost differs from that of the period before: causes that add up exactly",
    (
        Parameter("by", "Dimension whose values are compared.", default="feature"),
        *period_parameters("7d"),
        limit_parameter(100, _MAX_DRIVERS),
    ),
    _why,
    schemas.WHY,
)
"""`/why`."""
