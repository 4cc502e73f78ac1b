"""Why a row costs what it says: its arithmetic, line by line, against the number it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.catalog.lookup import load_book
from tokenledger_exporter.pricing.charge import ESTIMATED_NOTE
from tokenledger_exporter.pricing.price_row import UNITS
from tokenledger_exporter.rating.stored_call import COLUMN_LIST, stored_call
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    import psycopg

    from tokenledger_exporter.pricing.price_row import Cost, CostLine
    from tokenledger_exporter.rating.stored_call import StoredCall

_SQL: Final = statements("reprice")

_WHY: Final = {
    "priced": "every count has a price",
    "partial": "some usage or some price is missing, so the cost is a lower bound",
    "estimated": ESTIMATED_NOTE,
    "unpriced": "no price is known, so there is no cost; 'tokenledger prices missing' helps",
    "unmeasured": "the call was sent and its usage never came back, so there is no cost",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A row's cost and where it comes from.

    Args:
        call: the row.
        lines: units times price, part by part, by the sheet the row names.
        sum_usd: their sum; `None` where the row names no sheet of the book.
        sheet: source and days of that sheet.
        repricings: how the cost changed, newest first.
        verdict: one sentence that says whether the sum is the row's cost, and if not, why.
        agrees: whether it is, or the row says itself that it has no cost.
    """

    call: StoredCall
    lines: tuple[CostLine, ...]
    sum_usd: Decimal | None
    sheet: dict[str, Any]
    repricings: list[dict[str, Any]]
    verdict: str
    agrees: bool


def explain_event(connection: psycopg.Connection[Any], event_id: UUID) -> Explanation:
    """The arithmetic of one row.

    Raises:
        UsageError: the ledger holds no such row.
    """
    query = sql.SQL(_SQL["event"]).format(columns=COLUMN_LIST)
    cursor = connection.cursor(row_factory=dict_row)
    values = {"event_id": event_id}
    show(connection, query, values)
    row = cursor.execute(query, values).fetchone()
    if row is None:
        raise InvalidRequestError(
            f"the ledger holds no row {event_id}: its ids are in token_ledger_events.event_id"
        )
    call = stored_call(row)
    show(connection, _SQL["repricings_of"], values)
    changes = cursor.execute(_SQL["repricings_of"], values).fetchall()
    price_id = {"price_id": call.price_id}
    show(connection, _SQL["sheet"], price_id)
    sheet = cursor.execute(_SQL["sheet"], price_id).fetchone() or {}
    book = load_book(connection, sheet["provider"]) if sheet else None
    bill = book.bill(call.price_id, call.tokens) if book else None
    cost, lines = bill or (None, ())
    verdict, agrees = _verdict(call, cost, changes)
    return Explanation(
        call=call,
        lines=lines,
        sum_usd=cost.total_usd if cost else None,
        sheet=sheet,
        repricings=changes,
        verdict=verdict,
        agrees=agrees,
    )


def as_document(found: Explanation) -> dict[str, Any]:
    """The explanation as JSON: money as strings."""
    call = found.call
    return {
        "event_id": str(call.event_id),
        "timestamp": call.timestamp.isoformat(),
        "provider": call.provider,
        "model": call.model,
        "service_tier": call.service_tier,
        "lines": [
            {
                "kind": line.kind,
                "priced_as": line.priced_as,
                "units": line.units,
                "price_usd": plain_usd(line.price_usd),
                "per": line.per,
                "cost_usd": plain_usd(line.cost_usd),
            }
            for line in found.lines
        ],
        "sum_usd": _money(found.sum_usd),
        "cost_usd": _money(call.cost_usd),
        "agrees": found.agrees,
        "verdict": found.verdict,
        "cost_status": call.cost_status,
        "why": _WHY[call.cost_status],
        "cost_note": call.cost_note,
        "price_id": call.price_id,
        "source": found.sheet.get("source"),
        **{name: _day(found.sheet.get(name)) for name in ("checked_on", "valid_from", "valid_to")},
        "repricings": [
            {name: _plain(value) for name, value in change.items()} for change in found.repricings
        ],
    }


def as_text(found: Explanation) -> str:
    """The explanation for people."""
    call, told = found.call, as_document(found)
    tier = f", tier {call.service_tier}" if call.service_tier else ""
    lines = [
        f"{call.event_id}  {call.timestamp:%Y-%m-%d %H:%M:%S%z}",
        f"{call.model} at {call.provider}, {call.operation}{tier}",
        "",
        *_bill(found),
    ]
    lines += ["", f"cost    {_dollars(call.cost_usd)} ({found.verdict})"]
    lines.append(f"status  {call.cost_status}: {told['why']}")
    if call.cost_note:
        lines.append(f"note    {call.cost_note}")
    if found.sheet:
        lines.append(f"price   {told['price_id']}")
        span = f"{told['valid_from'] or 'the beginning'} to {told['valid_to'] or 'further notice'}"
        lines.append(f"source  {told['source']}, checked {told['checked_on']}, holds from {span}")
    lines += [
        f"changed {change['recorded_at']:%Y-%m-%d %H:%M:%S%z} by {change['changed_by']}: "
        f"{_dollars(change['old_cost_usd'])} ({change['old_cost_status']}) -> "
        f"{_dollars(change['new_cost_usd'])} ({change['new_cost_status']}): {change['reason']}"
        for change in found.repricings
    ]
    return "\n".join(map(visible, lines)) + "\n"


def _verdict(
    call: StoredCall, cost: Cost | None, changes: list[dict[str, Any]]
) -> tuple[str, bool]:
    if call.cost_usd is None:
        return "none", True
    if cost is not None and cost.total_usd == call.cost_usd:
        return "the sum, to the last digit", True
    if call.refused or call.price_id.startswith("free:"):
        return "nothing is billed for it", call.cost_usd == 0
    if not call.price_id:
        return "it came with the row and from no price sheet", True
    return _disagreement(call, cost, changes), False


def _disagreement(call: StoredCall, cost: Cost | None, changes: list[dict[str, Any]]) -> str:
    for change in changes:
        if change["new_cost_usd"] == call.cost_usd:
            when = f"{change['recorded_at']:%Y-%m-%d %H:%M:%S%z}"
            return f"not the sum: the repricing of {when} set it ({change['reason']})"
    if cost is None:
        return f"the price book no longer holds the sheet {call.price_id}"
    return "not the sum, and no repricing set it: the row was changed by hand"


def _bill(found: Explanation) -> list[str]:
    cells = [(*_cells(line), line.cost_usd) for line in found.lines]
    if found.sum_usd is not None:
        cells.append(("sum", "", found.sum_usd))
    name_width = max((len(name) for name, _, _ in cells), default=0)
    price_width = max((len(price) for _, price, _ in cells), default=0)
    return [
        f"  {name:<{name_width}}  {price:>{price_width}} = ${plain_usd(cost)}"
        for name, price, cost in cells
    ]


def _cells(line: CostLine) -> tuple[str, str]:
    unit = UNITS.get(line.kind, "units")
    kind = line.kind if line.kind == line.priced_as else f"{line.kind} (priced as {line.priced_as})"
    return kind, f"{line.units:,} {unit} x ${plain_usd(line.price_usd)} / {line.per:,}"


def _dollars(amount: Decimal | None) -> str:
    return "no cost" if amount is None else f"${plain_usd(amount)}"


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain_usd(amount)


def _day(value: Any) -> str | None:  # noqa: ANN401 - a date column, or nothing
    return None if value is None else str(value)


def _plain(value: Any) -> str | None:  # noqa: ANN401 - whatever a column of the trail holds
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else plain_usd(value)
