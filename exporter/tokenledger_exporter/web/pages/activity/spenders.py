"""Users and tenants: who spends most, and the page of one of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.lists.calls import CallSearch, call_page_steps
from tokenledger_exporter.queries.report import compared_steps, report_steps
from tokenledger_exporter.queries.summaries import errors_steps
from tokenledger_exporter.web.lists.spenders import (
    SPENDER_COLUMNS,
    SPENDER_PARAMETERS,
    read_spenders,
    spender_row,
)
from tokenledger_exporter.web.pages.listing import CSV, changed, csv_of, path_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_LIST: Final = (*VIEW_PARAMETERS, *SPENDER_PARAMETERS)
_TOP_ROWS: Final = 8
_NEWEST: Final = 10


class _Kind(NamedTuple):
    """What a list is about.

    Args:
        folder: path of the list, and of the pages of its values.
        dimension: its dimension.
        entry: its entry of the navigation.
        title: its heading.
        noun: one of them.
        setting: the keyword with which an app sets it; it is in the path of its page.
    """

    folder: str
    dimension: str
    entry: str
    title: str
    noun: str
    setting: str


_USERS: Final = _Kind("/users", "user", "users", "Users", "user", "user_id")
_TENANTS: Final = _Kind(
    "/tenants", "organization", "tenants", "Tenants", "tenant", "organization_id"
)


def _list(kind: _Kind, connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(kind.folder, values, SPENDER_PARAMETERS)
    with collect_sql() as statements:
        page = read_spenders(connection, kind.dimension, values)
    own_values = changed(values, SPENDER_PARAMETERS)
    return html(
        "spenders",
        kind.entry,
        view,
        kind=kind,
        values=values,
        page=page,
        statements=statements,
        files=(
            view.link(f"{kind.folder}.csv", **own_values),
            view.link(f"/api/v1{kind.folder}", **{"since": values["since"], **own_values}),
        ),
    )


def _list_csv(kind: _Kind, connection: Connection, values: dict[str, Any]) -> str:
    page = read_spenders(connection, kind.dimension, values)
    return csv_of(SPENDER_COLUMNS, [spender_row(spender) for spender in page.spenders])


def _one(kind: _Kind, connection: Connection, values: dict[str, Any]) -> str:
    name = str(values[kind.setting])
    view = view_of(path_of(kind.folder, name), values)
    others = [text for text in view.filters if text.partition("=")[0] != kind.dimension]
    inside = view_of(kind.folder, {**values, "where": [*others, f"{kind.dimension}={name}"]})
    tops = ("model", "feature") if kind.dimension == "user" else ("model", "user", "feature")
    search = CallSearch(inside.since, inside.until, inside.where)
    with collect_sql() as statements:
        total = run_steps(connection, compared_steps(inside.report()))
        errors = run_steps(connection, errors_steps(inside.report()))
        by_day = run_steps(connection, report_steps(inside.report("day")))
        by_top = [
            (top, run_steps(connection, report_steps(inside.report(top, limit=_TOP_ROWS))))
            for top in tops
        ]
        calls = run_steps(connection, call_page_steps(search, _NEWEST)).calls
    return html(
        "spender",
        kind.entry,
        view,
        kind=kind,
        name=name,
        inside=inside,
        total=total,
        errors=errors,
        days=sorted(by_day.rows, key=lambda row: row.labels, reverse=True),
        tops=by_top,
        calls=calls,
        highest=max((row.cost_usd for row in by_day.rows), default=0),
        statements=statements,
        files=(
            inside.link("/explore.csv", by="day"),
            inside.link("/api/v1/report", since=values["since"], by="day"),
        ),
    )


def _pages_of(kind: _Kind) -> tuple[Page, ...]:
    return (
        Page(kind.folder, _LIST, partial(_list, kind)),
        Page(f"{kind.folder}.csv", _LIST, partial(_list_csv, kind), CSV),
        Page(f"{kind.folder}/{{{kind.setting}:path}}", VIEW_PARAMETERS, partial(_one, kind)),
    )


SPENDERS: Final = (*_pages_of(_USERS), *_pages_of(_TENANTS))
"""The lists of users and of tenants, as pages and as CSV, and the page of each of them."""
