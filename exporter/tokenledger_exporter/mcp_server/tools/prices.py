"""Tools about prices: those of a model, and what calls would cost at them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.mcp_server.answer import Answer, utc
from tokenledger_exporter.mcp_server.arguments import (
    SINCE,
    UNTIL,
    WHERE,
    Argument,
    ArgumentError,
    checked_dimensions,
    limit_argument,
    period_of,
    where_of,
)
from tokenledger_exporter.mcp_server.tools.tool import LedgerTool
from tokenledger_exporter.pricing.catalog.lookup import books_of, listed, notes, shown
from tokenledger_exporter.pricing.quote import quote, quoted_moment, read_shape
from tokenledger_exporter.queries.order import ORDERS
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.queries.what_if import build_as_if, model_and_provider
from tokenledger_exporter.render.report import as_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tokenledger_exporter.mcp_server.tools.tool import Connection

MOST_CALLS: Final = 100_000
"""The most calls that one question prices again."""

_NO_CALLS: Final = "coverage: prices are read, no calls"
_COUNTS: Final = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
_MOST_TOKENS: Final = 1_000_000_000
_TIER: Final = Argument("tier", "Service tier: standard, batch, flex, priority ...", default="")
_AT: Final = Argument("at", "Day or time of the call, UTC; a day means noon.", default="now")


def _prices(connection: Connection, values: Mapping[str, Any]) -> Answer:
    moment = _at(values)
    provider = ledger_name(values["provider"]) if values["provider"] else ""
    model, limit = values["model"], values["limit"]
    if provider and model:
        try:
            rows = shown(connection, provider, model, moment, values["tier"])
        except InvalidRequestError as error:
            raise ArgumentError("model", f"{error}; leave it out to list the models") from None
        remarks = tuple(notes(rows, provider, model, values["tier"]))
    else:
        rows = listed(connection, provider or None, model, moment.date())
        remarks = () if rows else ("no price matches; leave out arguments to list more",)
    return Answer(
        data={"at": utc(moment), "prices": rows[:limit]},
        coverage=_NO_CALLS,
        entries="prices",
        since=moment,
        until=moment,
        is_cut=len(rows) > limit,
        notes=remarks,
        narrow="name the 'provider' and the 'model'",
    )


def _at(values: Mapping[str, Any]) -> datetime:
    try:
        return quoted_moment(values["at"])
    except InvalidRequestError as error:
        raise ArgumentError("at", str(error)) from None


def _what_would_it_cost(connection: Connection, values: Mapping[str, Any]) -> Answer:
    try:
        provider, model = model_and_provider(values["model"])
    except InvalidRequestError as error:
        raise ArgumentError("model", str(error)) from None
    if any(values[name] is not None for name in _COUNTS):
        return _quote(connection, provider, model, values)
    return _as_if(connection, f"{provider}/{model}", values)


def _quote(connection: Connection, provider: str, model: str, values: Mapping[str, Any]) -> Answer:
    """The cost of one call with these counts."""
    counts = {name: values[name] for name in _COUNTS if values[name] is not None}
    fields = {"provider": provider, "model": model, "on": values["at"], **counts}
    moment = _at(values)
    shape = read_shape(json.dumps(fields | {"service_tier": values["tier"]}))
    quoted = quote(shape, books_of(connection))
    return Answer(
        data={
            "provider": provider,
            "model": model,
            **counts,
            "cost_usd": quoted.cost_usd,
            "price_id": quoted.price_id or None,
        },
        coverage=_NO_CALLS,
        since=moment,
        until=moment,
        notes=(quoted.note,) if quoted.note else (),
    )


def _as_if(connection: Connection, model: str, values: Mapping[str, Any]) -> Answer:
    """The calls of a period at the prices of the model."""
    since, until = period_of(values)
    by, where = checked_dimensions("by", values["by"]), where_of(values)
    total = run_steps(connection, report_steps(ReportRequest((), since, until, where=where)))
    if total.totals.calls > MOST_CALLS:
        raise ArgumentError(
            "since",
            f"the period has {total.totals.calls:,} calls, and each is priced again, at most "
            f"{MOST_CALLS:,}: use a shorter period or a filter in 'where'",
        )
    limit = values["limit"]
    request = ReportRequest(by, since, until, limit + 1, where=where, order_by=ORDERS[0])
    try:
        report = build_as_if(connection, request, model)
    except InvalidRequestError as error:
        raise ArgumentError("model", f"{error}; the tool 'prices' lists models") from None
    document = as_document(report)
    return Answer(
        data={
            "as_if": report.as_if,
            "by": document["by"],
            "rows": document["rows"][:limit] if by else [],
            "totals": document["totals"],
            "actual_totals": as_document(total)["totals"],
        },
        coverage=report.coverage.sentence,
        entries="rows",
        since=since,
        until=until,
        where=report.where,
        is_cut=len(document["rows"]) > limit,
        notes=(
            "the tokens of the calls are the same; another model would count other ones",
            *report.notes,
        ),
    )


def _count(name: str) -> Argument:
    description = f"{name.replace('_', ' ')} of one call".capitalize()
    return Argument(name, description, "integer", minimum=0, maximum=_MOST_TOKENS)


PRICE_TOOLS: Final = (
    LedgerTool(
        "prices",
        "Prices",
        "Prices of the ledger's price book, US dollars. With provider and model: every price of "
        "the sheet that applies, with its source. Otherwise a list of sheets.",
        (
            Argument("provider", "Who bills: openai, anthropic, aws ..."),
            Argument("model", "Name of the model."),
            _AT,
            _TIER,
            limit_argument(50, 500, "prices"),
        ),
        _prices,
    ),
    LedgerTool(
        "what_would_it_cost",
        "What would it cost",
        "What the calls of a period would have cost at another model's prices, next to what they "
        "cost. With token counts, it is the cost of one such call instead.",
        (
            Argument("model", "The other model, as MODEL or PROVIDER/MODEL.", is_required=True),
            SINCE,
            UNTIL,
            WHERE,
            Argument("by", "Dimensions to group by; [] is the total.", "array", default=[]),
            *map(_count, _COUNTS),
            _AT,
            _TIER,
            limit_argument(50, 500, "rows"),
        ),
        _what_would_it_cost,
    ),
)
"""Tools about prices."""
