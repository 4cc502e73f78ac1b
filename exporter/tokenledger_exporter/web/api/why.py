"""The endpoint that says why a cost changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.render.why import why_document
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import DETAIL, limit_parameter, period_parameters
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_why

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

_MAX_DRIVERS: Final = 1_000


def _why(connection: Connection, values: dict[str, Any]) -> Document:
    return why_document(build_why(connection, values), limit=values["limit"])


WHY_ENDPOINT: Final = Endpoint(
    "/why",
    "why",
    "Why the cost differs from that of the period before: causes that add up exactly",
    (
        Parameter("by", "Dimension whose values are compared.", default="feature"),
        *period_parameters("7d"),
        DETAIL,
        limit_parameter(100, _MAX_DRIVERS),
    ),
    _why,
    schemas.WHY,
)
"""`/why`."""
