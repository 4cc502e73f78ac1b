"""Explains the cost of a row: recomputes it line by line and compares it with the stored cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.catalog.lookup import books_of, load_book
from tokenledger_exporter.pricing.charge import ESTIMATED_NOTE, REPORTED_NOTE, charge
from tokenledger_exporter.pricing.price_row import MONEY, UNITS
from tokenledger_exporter.rating.stored_call import COLUMN_LIST, stored_call
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    import psycopg

    from tokenledger_exporter.pricing.price_row import Cost, CostLine
    from tokenledger_exporter.rating.stored_call import StoredCall

_SQL: Final = statements("reprice")

_STATUS_EXPLANATIONS: Final = {
    "priced": "every count has a price",
    "reported": REPORTED_NOTE,
    "partial": "a count or a price is missing, so the cost is a lower bound",
    "estimated": ESTIMATED_NOTE,
    "unpriced": "no price is known, so there is no cost; see 'tokenledger prices missing'",
    "unmeasured": "the call was sent but its usage was not reported, so there is no cost",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The cost of a row and how it was calculated.

    Args:
        call: the row.
        lines: units times price for each kind of usage, by the row's price sheet.
        sum_usd: the sum of the lines; `None` if the row's price sheet is not in the book.
        sheet: source and days of the price sheet.
        repricings: changes of the cost, newest first.
        verdict: one sentence: whether the sum equals the row's cost, and if not, why.
        agrees: whether the sum equals the row's cost, or the row has no cost by its own status.
        reported_cost_source: the field that has the cost as the provider reports it.
        cost_differs: whether that cost differs from the row's by more than rounding.
    """

    call: StoredCall
    lines: tuple[CostLine, ...]
    sum_usd: Decimal | None
    sheet: dict[str, Any]
    repricings: list[dict[str, Any]]
    verdict: str
    agrees: bool
    reported_cost_source: str = ""
    cost_differs: bool = False


def explain_event(connection: psycopg.Connection[Any], event_id: UUID) -> Explanation:
    """Explain the cost of one row.

    Raises:
        InvalidRequestError: the ledger has no such row.
    """
    query = sql.SQL(_SQL["event"]).format(columns=COLUMN_LIST)
    cursor = connection.cursor(row_factory=dict_row)
    values = {"event_id": event_id}
    show(connection, query, values)
    row = cursor.execute(query, values).fetchone()
    if row is None:
        raise InvalidRequestError(
            f"event {event_id} not found; use an id from token_ledger_events.event_id"
        )
    call = stored_call(row)
    show(connection, _SQL["repricings_of"], values)
    changes = cursor.execute(_SQL["repricings_of"], values).fetchall()
    price_id = _sheet_of(connection, call)
    sheet_values = {"price_id": price_id}
    show(connection, _SQL["sheet"], sheet_values)
    sheet = cursor.execute(_SQL["sheet"], sheet_values).fetchone() or {}
    book = load_book(connection, sheet["provider"]) if sheet else None
    bill = book.bill(price_id, call.tokens) if book else None
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
        reported_cost_source=row["reported_cost_source"] or "",
        cost_differs=row["cost_differs"],
    )


def _sheet_of(connection: psycopg.Connection[Any], call: StoredCall) -> str:
    """The price sheet of a row; for a reported cost, the one it would be priced by otherwise."""
    if call.cost_status != "reported":
        return call.price_id
    listed = replace(call, reported_cost_usd=None)
    return charge(listed, call.timestamp, books_of(connection)).price_id


def as_document(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON: money as strings."""
    call = explanation.call
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
            for line in explanation.lines
        ],
        "sum_usd": _money(explanation.sum_usd),
        "cost_usd": _money(call.cost_usd),
        "reported_cost_usd": _money(call.reported_cost_usd),
        "reported_cost_source": explanation.reported_cost_source,
        "cost_differs": explanation.cost_differs,
        "agrees": explanation.agrees,
        "verdict": explanation.verdict,
        "cost_status": call.cost_status,
        "why": _STATUS_EXPLANATIONS[call.cost_status],
        "cost_note": call.cost_note,
        "price_id": call.price_id,
        "source": explanation.sheet.get("source"),
        **{
            name: _day(explanation.sheet.get(name))
            for name in ("checked_on", "valid_from", "valid_to")
        },
        "repricings": [
            {name: _plain(value) for name, value in change.items()}
            for change in explanation.repricings
        ],
    }


def as_text(explanation: Explanation) -> str:
    """The explanation as text for a terminal."""
    call, document = explanation.call, as_document(explanation)
    tier = f", tier {call.service_tier}" if call.service_tier else ""
    lines = [
        f"{call.event_id}  {call.timestamp:%Y-%m-%d %H:%M:%S%z}",
        f"{call.model} at {call.provider}, {call.operation}{tier}",
        "",
    ]
    if bill := _bill(explanation):
        lines += [*bill, ""]
    if call.cost_usd is None:
        lines.append("cost    unknown")
    else:
        lines.append(f"cost    {_dollars(call.cost_usd)} ({explanation.verdict})")
    lines.append(f"status  {call.cost_status}: {document['why']}")
    # The status says the part of the note that every such row has.
    common = _STATUS_EXPLANATIONS[call.cost_status]
    notes = [part for part in call.cost_note.split("; ") if part and part != common]
    if notes:
        lines.append(f"note    {'; '.join(notes)}")
    if call.reported_cost_usd is not None:
        lines.append(f"report  {_reported(explanation)}")
    if explanation.sheet:
        lines.append(f"price   {document['price_id']}")
        period = f"from {document['valid_from'] or 'the beginning'}"
        period += f" to {document['valid_to']}" if document["valid_to"] else ""
        checked = f"checked {document['checked_on']}"
        lines.append(f"source  {document['source']}, {checked}, valid {period}")
    lines += [
        f"changed {change['recorded_at']:%Y-%m-%d %H:%M:%S%z} by {change['changed_by']}: "
        f"{_dollars(change['old_cost_usd'])} ({change['old_cost_status']}) -> "
        f"{_dollars(change['new_cost_usd'])} ({change['new_cost_status']}): {change['reason']}"
        for change in explanation.repricings
    ]
    return "\n".join(map(visible, lines)) + "\n"


def _reported(explanation: Explanation) -> str:
    """The cost that the provider reports, its source, and how far it is from the row's."""
    call, source = explanation.call, explanation.reported_cost_source
    text = f"{_dollars(call.reported_cost_usd)} by the provider" + (f", {source}" if source else "")
    if explanation.cost_differs and call.cost_usd and call.reported_cost_usd is not None:
        difference = MONEY.subtract(call.reported_cost_usd, call.cost_usd)
        sign = "-" if difference < 0 else "+"
        text += f" (differs from the cost: {sign}${plain_usd(abs(difference))})"
    return text


def _verdict(
    call: StoredCall, cost: Cost | None, changes: list[dict[str, Any]]
) -> tuple[str, bool]:
    if call.cost_usd is None:
        return "none", True
    if call.cost_status == "reported":
        listed = "no price" if cost is None else _dollars(cost.total_usd)
        return f"by the price list: {listed}", True
    if cost is not None and cost.total_usd == call.cost_usd:
        return "equals the sum exactly", True
    if call.refused or call.price_id.startswith("free:"):
        return "the call is not billed", call.cost_usd == 0
    if not call.price_id:
        return "the cost was stored with the row, not computed from a price sheet", True
    return _disagreement(call, cost, changes), False


def _disagreement(call: StoredCall, cost: Cost | None, changes: list[dict[str, Any]]) -> str:
    for change in changes:
        if change["new_cost_usd"] == call.cost_usd:
            changed_at = f"{change['recorded_at']:%Y-%m-%d %H:%M:%S%z}"
            return (
                f"differs from the sum: set by the repricing of {changed_at} ({change['reason']})"
            )
    if cost is None:
        return f"price sheet {call.price_id} is no longer in the price book"
    return "does not match the sum, and no repricing explains it: the row was edited manually"


def _bill(explanation: Explanation) -> list[str]:
    cells = [(*_cells(line), line.cost_usd) for line in explanation.lines]
    if explanation.sum_usd is not None:
        cells.append(("sum", "", explanation.sum_usd))
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


def _day(value: Any) -> str | None:  # noqa: ANN401 - a date column or None
    return None if value is None else str(value)


def _plain(value: Any) -> str | None:  # noqa: ANN401 - any column of the repricings
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else plain_usd(value)
