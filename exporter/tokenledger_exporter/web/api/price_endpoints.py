"""Endpoints of the price book: sheets of a day, one model's history, what is missing, changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.pricing.catalog.lookup import listed
from tokenledger_exporter.render.documents import record
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import period_parameters
from tokenledger_exporter.web.lists.prices import (
    CHANGE_PARAMETERS,
    MODEL,
    MODEL_PARAMETERS,
    PROVIDER,
    day_of,
    provider_of,
    read_changes,
    read_history,
    read_missing,
)
from tokenledger_exporter.web.parameters import Parameter

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection


def _prices(connection: Connection, values: dict[str, Any]) -> list[Document]:
    day = day_of(values, "at")
    rows = listed(connection, provider_of(values), values["model"] or None, day)
    return [record(row) for row in rows]


def _history(connection: Connection, values: dict[str, Any]) -> list[Document]:
    return [record(row) for row in read_history(connection, values)]


def _missing(connection: Connection, values: dict[str, Any]) -> list[Document]:
    return [record(row) for row in read_missing(connection, values)]


def _changes(connection: Connection, values: dict[str, Any]) -> Document:
    rows, count = read_changes(connection, values)
    return {
        "before": str(day_of(values, "before")),
        "after": str(day_of(values, "after")),
        "count": count,
        "rows": [record(row) for row in rows],
    }


PRICE_ENDPOINTS: Final = (
    Endpoint(
        "/prices",
        "prices",
        "Price sheets that are valid on a day, US dollars per million tokens",
        (
            PROVIDER,
            MODEL,
            Parameter("at", "The day: today, 2026-11-01 ...", default="now"),
        ),
        _prices,
        schemas.PRICES,
    ),
    Endpoint(
        "/prices/history",
        "prices_history",
        "Every price that the book ever had for a model, the latest first",
        MODEL_PARAMETERS,
        _history,
        schemas.PRICE_HISTORY,
    ),
    Endpoint(
        "/prices/missing",
        "prices_missing",
        "Models of calls that have no price, with the command that sets one",
        period_parameters("7d"),
        _missing,
        schemas.PRICES_MISSING,
    ),
    Endpoint(
        "/prices/changes",
        "prices_changes",
        "Prices that differ between two days",
        CHANGE_PARAMETERS,
        _changes,
        schemas.PRICE_CHANGES,
    ),
)
"""The endpoints of prices."""
