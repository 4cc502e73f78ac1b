"""Reports what the calls of a period would have cost at another model's prices.

Each call keeps its tokens, time and tier, so long-context and dated prices apply. The real token
counts of another model would differ and cannot be known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.dimensions import label_columns, narrowed, plain_where
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.catalog.lookup import books_of
from tokenledger_exporter.pricing.charge import Charge, charge
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.order import ORDERS, TOKENS, first_labels
from tokenledger_exporter.queries.report import (
    Report,
    ReportRow,
    checked_groups,
    losses_steps,
    notes_steps,
)
from tokenledger_exporter.rating.stored_call import COLUMN_LIST, stored_call
from tokenledger_exporter.sql import statements
from tokenledger_semconv.model_providers import provider_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import psycopg

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.queries.report import ReportRequest
    from tokenledger_exporter.rating.stored_call import StoredCall

_SQL: Final = statements("queries")

# Operations that another text model can answer; other calls count as unpriced.
_TEXT: Final = frozenset({"chat", "generate_content", "text_completion"})
_FETCHED_ROWS: Final = 5_000


@dataclass(slots=True)
class _Sum:
    """The running totals of one group."""

    cost_usd: Decimal = Decimal(0)
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    states: Counter[str] = field(default_factory=Counter[str])

    def add(self, call: StoredCall, money: Charge) -> None:
        self.calls += 1
        self.input_tokens += call.tokens.input_tokens or 0
        self.output_tokens += call.tokens.output_tokens or 0
        self.cached_tokens += call.tokens.cached_tokens or 0
        self.states[money.status] += 1
        self.cost_usd = MONEY.add(self.cost_usd, money.cost_usd or Decimal(0))

    def as_row(self, labels: tuple[str, ...], *, lost: int) -> ReportRow:
        return ReportRow(
            labels=labels,
            cost_usd=self.cost_usd,
            calls=self.calls,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            coverage=Coverage(**self.states, lost=lost),
        )


def model_and_provider(text: str) -> tuple[str, str]:
    """Provider and model of `provider/model`, or of a model name with a known provider.

    Raises:
        InvalidRequestError: the provider of the model is unknown.
    """
    provider, slash, model = text.partition("/")
    if slash and provider and model:
        return ledger_name(provider), model
    if maker := provider_of(text):
        return ledger_name(maker), text
    raise InvalidRequestError(f"cannot tell the provider of model {text!r}: use PROVIDER/MODEL")


def build_as_if(connection: psycopg.Connection[Any], request: ReportRequest, model: str) -> Report:
    """Build the report with all calls priced as another model.

    Args:
        connection: the ledger.
        request: the report.
        model: `provider/model`, or a model name with a known provider.

    Raises:
        InvalidRequestError: the request is invalid, or the model has no price.
    """
    names, groups = checked_groups(request)
    provider, name = model_and_provider(model)
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    total, actual, reasons = _Sum(), Decimal(0), Counter[str]()
    prices_of = books_of(connection)
    if not prices_of(provider).sheet(provider, name, request.until):
        raise InvalidRequestError(
            f"no price for {name!r} at {provider!r}; 'tokenledger prices list --provider "
            f"{provider}' lists the models that have one"
        )
    for labels, call in _calls(connection, groups, request):
        money = _other_cost(call, provider, name, prices_of)
        for group in (sums[labels], total):
            group.add(call, money)
        actual = MONEY.add(actual, call.cost_usd or Decimal(0))
        if money.status != "priced":
            reasons[f"{money.status}: {money.note}"] += 1
    rows = [group.as_row(labels, lost=0) for labels, group in sums.items()] if names else []
    rows = _sorted(rows, names, request.order_by)
    lost = run_steps(connection, losses_steps(request.since, request.until))
    return Report(
        by=names,
        since=request.since,
        until=request.until,
        rows=tuple(rows[: request.limit]),
        totals=total.as_row((), lost=lost),
        as_if=f"{provider}/{name}",
        notes=(*_notes(provider, name, actual, reasons), *run_steps(connection, notes_steps())),
        zone=request.zone,
        where=plain_where(request.where),
    )


def _sorted(rows: Iterable[ReportRow], names: Sequence[str], order_by: str) -> list[ReportRow]:
    """The rows in the order that the database would return them."""
    first = first_labels(names, order_by)

    def place(row: ReportRow) -> tuple[object, ...]:
        figure = getattr(row, order_by if order_by in ORDERS else ORDERS[0])
        if order_by == TOKENS:
            figure = row.input_tokens + row.output_tokens
        return (*(row.labels[number] for number in first), -figure, row.labels)

    return sorted(rows, key=place)


def _calls(
    connection: psycopg.Connection[Any], groups: list[sql.Composable], request: ReportRequest
) -> Iterator[tuple[tuple[str, ...], StoredCall]]:
    columns = sql.SQL("event_id, timestamp, scope, {}").format(COLUMN_LIST)
    where, values = narrowed(request.where)
    query = sql.SQL(_SQL["rows_to_price"]).format(
        labels=label_columns(groups), columns=columns, where=where
    )
    with connection.cursor("tokenledger_as_if", row_factory=dict_row) as cursor:
        cursor.itersize = _FETCHED_ROWS
        values |= {"since": request.since, "until": request.until}
        show(connection, query, values)
        for row in cursor.execute(query, values):
            labels = tuple(str(row[f"label_{number}"]) for number in range(len(groups)))
            yield labels, stored_call(row)


def _other_cost(
    call: StoredCall, provider: str, model: str, prices_of: Callable[[str], PriceBook]
) -> Charge:
    if call.operation not in _TEXT and not call.refused:
        note = f"operation {call.operation or '(unknown)'} cannot be priced with text model {model}"
        return Charge((None,) * 6, "unpriced", "", note)
    # A region's name is specific to its provider.
    geo = call.inference_geo if call.provider == provider else ""
    other = replace(
        call,
        provider=provider,
        model=model,
        request_model=model,
        inference_geo=geo,
        reported_cost_usd=None,
    )
    return charge(other, call.timestamp, prices_of)


def _notes(provider: str, model: str, actual: Decimal, reasons: Counter[str]) -> Iterator[str]:
    yield (
        f"same tokens at the prices of {provider}/{model}; the actual cost was ${plain_usd(actual)}"
    )
    for reason, calls in reasons.most_common():
        yield f"{calls} calls {reason}"
