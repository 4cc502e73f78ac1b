"""Looks up prices in the stored price book, and what it lacks, as plain rows for any format."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import class_row, dict_row, tuple_row

from tokenledger_exporter.db.dimensions import narrowed
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import PriceBook, plain_usd
from tokenledger_exporter.pricing.charge import quote_note
from tokenledger_exporter.pricing.list_corrections import doubt_about
from tokenledger_exporter.pricing.patterns import search
from tokenledger_exporter.pricing.price_row import DISCOUNT, LISTED, PriceRow
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date, time

    import psycopg

    from tokenledger_exporter.db.dimensions import Where

    Cell = str | int | None

    Row = dict[str, Cell]

_SQL: Final = statements("prices")

_MAX_CLOSE: Final = 3
_WEEK: Final = "1234567"
_DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

LIST_SHOWN: Final = (
    *("provider", "model", "tier", "input_usd", "output_usd", "cached_usd"),
    *("valid_from", "valid_to", "hours", "source"),
)
LIST_COLUMNS: Final = (*LIST_SHOWN, "prices", "checked_on", "price_id")
SHOW_COLUMNS: Final = (
    *("kind", "above_input_tokens", "usd", "unit", "tier", "valid_from", "valid_to", "hours"),
    *("source", "checked_on", "price_id"),
)
HISTORY_SHOWN: Final = ("valid_from", "valid_to", "tier", "kind", "usd", "unit", "source")
HISTORY_COLUMNS: Final = (
    *HISTORY_SHOWN,
    *("above_input_tokens", "checked_on", "recorded_at", "price_id"),
)
MISSING_COLUMNS: Final = (
    *("provider", "model", "calls", "input_tokens", "output_tokens", "first_seen", "last_seen"),
    "remedy",
)
CHANGED_COLUMNS: Final = (
    *("provider", "model", "tier", "kind", "above_input_tokens", "hours", "before_usd"),
    *("after_usd", "per", "source", "price_id"),
)
DIFF_COLUMNS: Final = ("change", "provider", "model", "tier", "kind", "book", "package", "price_id")


@dataclass(frozen=True, slots=True)
class _Dated:
    """A price row with the dates it was checked and added."""

    row: PriceRow
    checked_on: date
    recorded_at: datetime


def load_book(connection: psycopg.Connection[Any], provider: str) -> PriceBook:
    """One provider's price book from the connected ledger."""
    name = {"provider": provider}
    show(connection, _SQL["prefers_reported"], name)
    show(connection, _SQL["load"], name)
    preferred = connection.cursor(row_factory=tuple_row).execute(_SQL["prefers_reported"], name)
    prefers_reported = preferred.fetchone() == (True,)
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    return PriceBook(cursor.execute(_SQL["load"], name), prefers_reported=prefers_reported)


def books_of(connection: psycopg.Connection[Any]) -> Callable[[str], PriceBook]:
    """Returns a function that gives a provider's price book and reads each book once."""
    books: dict[str, PriceBook] = {}

    def prices_of(provider: str) -> PriceBook:
        if provider not in books:
            books[provider] = load_book(connection, provider)
        return books[provider]

    return prices_of


def listed(
    connection: psycopg.Connection[Any], provider: str | None, model: str | None, day: date
) -> list[Row]:
    """The sheets that apply on a day, one row each; dollars are per million tokens."""
    cursor = connection.cursor(row_factory=dict_row)
    values = {"provider": provider, "day": day}
    show(connection, _SQL["listing"], values)
    rows = cursor.execute(_SQL["listing"], values).fetchall()
    return [_listed_sheet(row) for row in rows if model is None or _names(row, model.lower())]


def shown(
    connection: psycopg.Connection[Any], provider: str, model: str, moment: datetime, tier: str
) -> list[Row]:
    """Every price of the sheet that applies to a call.

    Raises:
        InvalidRequestError: the book has no price for the model at that time.
    """
    sheet = load_book(connection, provider).sheet(provider, model, moment, tier)
    if not sheet:
        raise _unknown(connection, provider, model)
    dated = _dated(connection, provider, {sheet[0].price_id})
    return [_shown(price) for price in dated]


def notes(rows: Iterable[Row], provider: str, model: str, tier: str) -> Iterator[str]:
    """What must be said about the prices that `shown` returns: why they may not be the right ones.

    Args:
        rows: the prices.
        provider: the ledger's name of the provider.
        model: the model that was asked for.
        tier: the tier that was asked for.
    """
    for row in list(rows)[:1]:
        is_listed = str(row["source"]).startswith((LISTED, DISCOUNT))
        doubts = (
            quote_note(provider, model, tier, str(row["tier"])),
            doubt_about(provider, model) if is_listed else "",
        )
        yield from filter(None, doubts)


def history(connection: psycopg.Connection[Any], provider: str, model: str) -> list[Row]:
    """Every price the book ever had for a model, the latest first.

    Raises:
        InvalidRequestError: there is none.
    """
    sheets = load_book(connection, provider).sheets(provider, model)
    if not sheets:
        raise _unknown(connection, provider, model)
    return [_shown(price) for price in _dated(connection, provider, set(sheets))]


def missing(
    connection: psycopg.Connection[Any],
    since: datetime,
    until: datetime,
    where: Where | None = None,
) -> list[Row]:
    """Models of calls that have no price, with the command that sets one.

    Raises:
        InvalidRequestError: a dimension of `where` is unknown.
    """
    condition, conditions = narrowed(where)
    query = sql.SQL(_SQL["missing"]).format(where=condition)
    values = {"since": since, "until": until, **conditions}
    show(connection, query, values)
    rows = connection.cursor(row_factory=dict_row).execute(query, values).fetchall()
    prices_of = books_of(connection)
    return [
        {name: _plain(value) for name, value in row.items()}
        | {"remedy": _remedy(row, prices_of(row["provider"]))}
        for row in rows
    ]


def difference(
    connection: psycopg.Connection[Any], package: Iterable[PriceRow], provider: str | None
) -> list[Row]:
    """Prices that only the package has, and prices that only the book has."""
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    known = {_key(r): r for r in cursor.execute(_SQL["listed_rows"], {"provider": provider})}
    new = {_key(r): r for r in package if provider in {None, r.provider}}
    changes = [("only in the ledger", row) for key, row in known.items() if key not in new]
    changes += [("only in the package", row) for key, row in new.items() if key not in known]
    return [_changed(change, row) for change, row in sorted(changes, key=_change_order)]


def changed_between(  # noqa: PLR0913 - one argument per part of the statement
    connection: psycopg.Connection[Any],
    before: date,
    after: date,
    provider: str | None,
    *,
    limit: int,
    skipped: int = 0,
) -> tuple[list[Row], int]:
    """Prices that differ between two days, and how many there are; dollars for `per` units."""
    values = {
        "before": before,
        "after": after,
        "provider": provider,
        "limit": limit,
        "skipped": skipped,
    }
    show(connection, _SQL["changed_between"], values)
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(_SQL["changed_between"], values).fetchall()
    count = rows[0]["changes"] if rows else 0
    return [{name: _plain(row[name]) for name in CHANGED_COLUMNS} for row in rows], count


def change_counts(rows: Iterable[Row]) -> dict[str, int]:
    """The number of rows of a difference by kind of change."""
    return dict(Counter(str(row["change"]) for row in rows))


def _names(row: dict[str, Any], model: str) -> bool:
    return row["model"].lower() == model or search(row["model_pattern"], model)


def _dated(connection: psycopg.Connection[Any], provider: str, price_ids: set[str]) -> list[_Dated]:
    cursor = connection.cursor(row_factory=dict_row)
    show(connection, _SQL["dated_rows"], {"provider": provider})
    prices: list[_Dated] = []
    for row in cursor.execute(_SQL["dated_rows"], {"provider": provider}):
        checked_on, recorded_at = row.pop("checked_on"), row.pop("recorded_at")
        if row["price_id"] in price_ids:
            prices.append(_Dated(PriceRow(**row), checked_on, recorded_at))
    return prices


def _shown(price: _Dated) -> Row:
    row = price.row
    return {
        "kind": row.kind,
        "above_input_tokens": row.above_input_tokens,
        "usd": plain_usd(row.usd),
        "unit": row.unit,
        "tier": row.tier,
        "valid_from": _plain(row.valid_from),
        "valid_to": _plain(row.valid_to),
        "hours": _hours(row.daily_from, row.daily_to, row.weekdays),
        "source": row.source,
        "checked_on": price.checked_on.isoformat(),
        "recorded_at": price.recorded_at.isoformat(),
        "price_id": row.price_id,
    }


def _listed_sheet(row: dict[str, Any]) -> Row:
    hours = _hours(row["daily_from"], row["daily_to"], row["weekdays"])
    return {name: hours if name == "hours" else _plain(row[name]) for name in LIST_COLUMNS}


def _hours(opens: time | None, closes: time | None, weekdays: str | None) -> str | None:
    """The hours and days of the week a price applies, in words; `None` if it always does."""
    hours = "" if opens is None or closes is None else f"{opens:%H:%M}-{closes:%H:%M} UTC"
    names = [_DAY_NAMES[int(day) - 1] for day in weekdays or ""]
    is_range = len(names) > 1 and str(weekdays) in _WEEK
    days = f"{names[0]}-{names[-1]}" if is_range else ", ".join(names)
    return ", ".join(filter(None, (hours, days))) or None


def _unknown(connection: psycopg.Connection[Any], provider: str, model: str) -> InvalidRequestError:
    cursor = connection.execute(_SQL["providers"])
    names = [name for (name,) in cursor]
    if provider not in names:
        close = get_close_matches(provider, names, _MAX_CLOSE)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        return InvalidRequestError(
            f"unknown provider {provider!r}; {hint}'tokenledger prices list' lists the "
            f"{len(names)} providers that have prices"
        )
    return InvalidRequestError(
        f"no price for {model!r} at {provider!r}: set one with 'tokenledger prices set "
        f"{shlex.quote(provider)} {shlex.quote(model)} --input ... --output ...'"
    )


def _remedy(row: dict[str, Any], book: PriceBook) -> str:
    names = f"{shlex.quote(row['provider'])} {shlex.quote(row['model'])}"
    if not row["provider"] or not row["model"]:
        return "the spans have no provider or model: set gen_ai.provider.name and the model"
    start = f"{row['first_seen']:%Y-%m-%d}"
    reprice = f"tokenledger reprice --since {start} --status unpriced"
    if book.sheet(row["provider"], row["model"], row["first_seen"]):
        return reprice
    return f"tokenledger prices set {names} --input USD --output USD --from {start} && {reprice}"


def _key(row: PriceRow) -> tuple[str, str, int]:
    return row.price_id, row.kind, row.above_input_tokens


def _change_order(change: tuple[str, PriceRow]) -> tuple[str, ...]:
    return change[1].provider, change[1].model, change[1].tier, change[1].kind, change[0]


def _changed(change: str, row: PriceRow) -> Row:
    in_book = change == "only in the ledger"
    price = f"{plain_usd(row.usd)} {row.unit}"
    return {
        "change": change,
        "provider": row.provider,
        "model": row.model,
        "tier": row.tier,
        "kind": row.kind,
        "book": price if in_book else None,
        "package": None if in_book else price,
        "price_id": row.price_id,
    }


def _plain(value: Decimal | date | str | int | None) -> Cell:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return plain_usd(value) if isinstance(value, Decimal) else value.isoformat()
