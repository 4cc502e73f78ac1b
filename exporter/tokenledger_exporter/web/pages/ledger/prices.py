"""The price book: sheets of a day, one model's sheets, models without a price, and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.pricing.catalog.lookup import (
    CHANGED_COLUMNS,
    HISTORY_COLUMNS,
    LIST_COLUMNS,
    MISSING_COLUMNS,
    listed,
    notes,
)
from tokenledger_exporter.web.ledger_parameters import PAGE, limit_parameter
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
    read_sheet,
)
from tokenledger_exporter.web.pages.listing import CSV, changed, csv_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, link
from tokenledger_exporter.web.parameters import NotFoundError, Parameter

if TYPE_CHECKING:
    from tokenledger_exporter.pricing.catalog.lookup import Row
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/prices"
_MAX_SHEETS: Final = 10_000
_FILTERS: Final = (
    PROVIDER,
    MODEL,
    Parameter("at", "The day: today, 2026-11-01 ...", default="now"),
)
_SHEETS: Final = (*_FILTERS, limit_parameter(100, _MAX_SHEETS), PAGE)
_ONE: Final = (
    *MODEL_PARAMETERS,
    Parameter("at", "Time of a call: now, 2026-11-01T09:30 ...", default="now"),
    Parameter("tier", "Service tier: standard, batch, flex, priority ...", default=""),
)


def _sheets(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values, _SHEETS)
    with collect_sql() as statements:
        rows = _listed(connection, values)
    start = values["limit"] * (values["page"] - 1)
    filters = changed(values, _FILTERS)
    return html(
        "prices",
        "prices",
        view,
        values=values,
        day=day_of(values, "at"),
        rows=rows[start : start + values["limit"]],
        count=len(rows),
        statements=statements,
        files=(link("/prices.csv", filters), link("/api/v1/prices", filters)),
    )


def _sheets_csv(connection: Connection, values: dict[str, Any]) -> str:
    return csv_of(LIST_COLUMNS, _listed(connection, values))


def _listed(connection: Connection, values: dict[str, Any]) -> list[Row]:
    return listed(connection, provider_of(values), values["model"] or None, day_of(values, "at"))


def _model(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values)
    provider, model = provider_of(values) or "", values["model"]
    why_none = ""
    sheet: list[Row] = []
    with collect_sql() as statements:
        rows = read_history(connection, values)
        try:
            sheet = read_sheet(connection, values, values["tier"])
        except NotFoundError as error:
            why_none = str(error)
    model_values = changed(values, MODEL_PARAMETERS)
    return html(
        "price",
        "prices",
        view,
        values=values,
        provider=provider,
        model=model,
        sheet=sheet,
        why_none=why_none,
        notes=list(notes(sheet, provider, model, values["tier"])),
        history=rows,
        statements=list(dict.fromkeys(statements)),
        files=(
            link("/prices/model.csv", model_values),
            link("/api/v1/prices/history", model_values),
        ),
    )


def _model_csv(connection: Connection, values: dict[str, Any]) -> str:
    return csv_of(HISTORY_COLUMNS, read_history(connection, values))


def _missing(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of("/prices/missing", values)
    with collect_sql() as statements:
        rows = read_missing(connection, values)
    return html(
        "prices_missing",
        "prices",
        view,
        rows=rows,
        # The rest are the price books that the remedies are looked up in.
        statements=statements[:1],
        files=(
            view.link("/prices/missing.csv"),
            view.link("/api/v1/prices/missing", since=values["since"]),
        ),
    )


def _missing_csv(connection: Connection, values: dict[str, Any]) -> str:
    return csv_of(MISSING_COLUMNS, read_missing(connection, values))


def _changes(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of("/prices/changes", values, CHANGE_PARAMETERS)
    with collect_sql() as statements:
        rows, count = read_changes(connection, values)
    own_values = changed(values, CHANGE_PARAMETERS)
    return html(
        "prices_changes",
        "prices",
        view,
        values=values,
        before=day_of(values, "before"),
        after=day_of(values, "after"),
        rows=rows,
        count=count,
        statements=statements,
        files=(
            link("/prices/changes.csv", own_values),
            link("/api/v1/prices/changes", own_values),
        ),
    )


def _changes_csv(connection: Connection, values: dict[str, Any]) -> str:
    return csv_of(CHANGED_COLUMNS, read_changes(connection, values)[0])


PRICES: Final = (
    Page(_PATH, (*VIEW_PARAMETERS, *_SHEETS), _sheets),
    Page("/prices.csv", _FILTERS, _sheets_csv, CSV),
    Page("/prices/model", (*VIEW_PARAMETERS, *_ONE), _model),
    Page("/prices/model.csv", MODEL_PARAMETERS, _model_csv, CSV),
    Page("/prices/missing", VIEW_PARAMETERS, _missing),
    Page("/prices/missing.csv", VIEW_PARAMETERS, _missing_csv, CSV),
    Page("/prices/changes", (*VIEW_PARAMETERS, *CHANGE_PARAMETERS), _changes),
    Page("/prices/changes.csv", CHANGE_PARAMETERS, _changes_csv, CSV),
)
"""The sheets of a day, the sheets of one model, what is missing, what changed; each as CSV, too."""
