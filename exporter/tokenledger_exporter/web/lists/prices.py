"""Prices as pages and endpoints read them: parameters, days, and what a book has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.domain.time_expressions import parse_moment
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.catalog import lookup
from tokenledger_exporter.web.ledger_parameters import PAGE, limit_parameter
from tokenledger_exporter.web.parameters import NotFoundError, Parameter
from tokenledger_exporter.web.request_values import checked, conditions, period

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    import psycopg

    from tokenledger_exporter.pricing.catalog.lookup import Row

_MAX_CHANGES: Final = 10_000

PROVIDER: Final = Parameter("provider", "Only this provider.", default="")
MODEL: Final = Parameter("model", "Only sheets that match this model name.", default="")

MODEL_PARAMETERS: Final = (
    Parameter("provider", "Who bills.", default=""),
    Parameter("model", "Name of the model.", default=""),
)
"""The model whose prices are meant."""

CHANGE_PARAMETERS: Final = (
    PROVIDER,
    Parameter("before", "The earlier day: 30d, 2026-11-01 ...", default="30d"),
    Parameter("after", "The later day.", default="now"),
    limit_parameter(100, _MAX_CHANGES),
    PAGE,
)
"""The parameters of a comparison of two days."""


def day_of(values: Mapping[str, Any], name: str) -> date:
    """The day, UTC, that a parameter names.

    Raises:
        ParameterError: it is not a time.
    """
    return moment_of(values, name).date()


def moment_of(values: Mapping[str, Any], name: str) -> datetime:
    """The time that a parameter names; raises as `day_of`."""
    moment: datetime = checked(name, parse_moment, values[name])
    return moment


def provider_of(values: Mapping[str, Any]) -> str | None:
    """The ledger's name of the provider; `None` for every provider."""
    return ledger_name(values["provider"]) if values["provider"] else None


def read_history(connection: psycopg.Connection[Any], values: Mapping[str, Any]) -> list[Row]:
    """Every price that the book ever had for a model, the latest first.

    Raises:
        ParameterError: a name is missing; `NotFoundError`: there is no price.
    """
    return _of_model(lambda: lookup.history(connection, provider_of(values) or "", values["model"]))


def read_sheet(
    connection: psycopg.Connection[Any], values: Mapping[str, Any], tier: str
) -> list[Row]:
    """Every price of the sheet that applies to a call of a model at the time `at`.

    Raises:
        ParameterError: the time is invalid; `NotFoundError`: there is no price.
    """
    moment = moment_of(values, "at")
    provider = provider_of(values) or ""
    return _of_model(lambda: lookup.shown(connection, provider, values["model"], moment, tier))


def read_missing(connection: psycopg.Connection[Any], values: Mapping[str, Any]) -> list[Row]:
    """Models of calls of the period that have no price."""
    since, until = period(dict(values))
    return lookup.missing(connection, since, until, conditions(values["where"]))


def read_changes(
    connection: psycopg.Connection[Any], values: Mapping[str, Any]
) -> tuple[list[Row], int]:
    """Prices that differ between the days `before` and `after`, and how many there are."""
    limit = values["limit"]
    return lookup.changed_between(
        connection,
        day_of(values, "before"),
        day_of(values, "after"),
        provider_of(values),
        limit=limit,
        skipped=limit * (values["page"] - 1),
    )


def _of_model(read: Callable[[], list[Row]]) -> list[Row]:
    try:
        return read()
    except InvalidRequestError as error:
        raise NotFoundError("model", str(error)) from None
