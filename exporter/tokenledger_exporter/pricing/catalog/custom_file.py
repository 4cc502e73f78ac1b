"""Reads files of custom prices, CSV or JSON; errors name the line and column.

Each row is one price: `provider`, `model`, `kind` and `usd` are required; `per`, `tier`,
`above_input_tokens`, `valid_from`, `valid_to`, `source` and `pattern` are optional.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, TypeVar, cast

from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import STANDARD_TIER
from tokenledger_exporter.pricing.catalog.custom import (
    CustomSheet,
    Rate,
    check_source,
    model_pattern,
)
from tokenledger_exporter.pricing.patterns import compile_pattern
from tokenledger_exporter.pricing.price_row import TOKENS, UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    T = TypeVar("T")

REQUIRED: Final = ("provider", "model", "kind", "usd")
OPTIONAL: Final = (
    *("per", "tier", "above_input_tokens", "valid_from", "valid_to", "source", "pattern"),
)
_MILLION: Final = 1_000_000
_MAX_ERRORS: Final = 20
# Digits of the largest number that a column of counts holds.
_MAX_DIGITS: Final = 19
# A price outside these powers of ten is a mistake.
_EXPONENTS: Final = range(-30, 12)


def amount(text: str) -> Decimal:
    """A price in US dollars, exactly as written.

    Raises:
        InvalidRequestError: it is not a finite amount of at least 0.
    """
    try:
        usd = Decimal(text.strip())
    except InvalidOperation:
        raise InvalidRequestError(f"invalid amount {text!r}; write US dollars like 2.5") from None
    if not usd.is_finite() or usd < 0 or (usd and usd.adjusted() not in _EXPONENTS):
        raise InvalidRequestError(f"invalid price {text!r}; use a finite amount of at least 0")
    return usd


def day(text: str) -> date:
    """A UTC day.

    Raises:
        InvalidRequestError: it is not a date.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidRequestError(
            f"invalid day {text!r}; prices apply to whole UTC days, written like 2026-11-01"
        ) from None


def pattern(text: str) -> str:
    """A regular expression for lower-case model names.

    Raises:
        InvalidRequestError: it is not a regular expression, or could take too long.
    """
    storable(text)
    compile_pattern(text)
    return text


def read_prices(text: str, name: str) -> list[CustomSheet]:
    """The price sheets of a file.

    Args:
        text: its content.
        name: its name; a file ending in `.json` is read as JSON, any other as CSV.

    Raises:
        InvalidRequestError: it has errors; the message names every line and column.
    """
    entries = _json(text, name) if name.lower().endswith(".json") else _csv(text, name)
    reader = _Reader(name)
    for place, entry in entries:
        reader.read(place, entry)
    if reader.errors:
        shown = reader.errors[:_MAX_ERRORS]
        more = len(reader.errors) - len(shown)
        tail = [f"... and {more} more"] if more else []
        raise InvalidRequestError("nothing was imported\n  " + "\n  ".join([*shown, *tail]))
    if not reader.rates:
        raise InvalidRequestError(f"{name} has no prices; every row needs {', '.join(REQUIRED)}")
    return reader.sheets()


@dataclass(slots=True)
class _Reader:
    """Collects rates by sheet, and errors."""

    name: str
    errors: list[str] = field(default_factory=list[str])
    rates: dict[CustomSheet, list[Rate]] = field(default_factory=dict[CustomSheet, list[Rate]])

    def read(self, place: str, entry: Mapping[str, str]) -> None:
        before = len(self.errors)

        def take(column: str, read: Callable[[str], T], default: T) -> T:
            text = entry.get(column, "").strip()
            try:
                return read(text) if text or column in REQUIRED else default
            except InvalidRequestError as error:
                self.errors.append(f"{self.name}, {place}, column {column}: {error}")
                return default

        kind = take("kind", _kind, "input")
        model = take("model", storable, "?")
        sheet = CustomSheet(
            provider=ledger_name(take("provider", storable, "?")),
            model=model,
            pattern=take("pattern", pattern, model_pattern(model)),
            tier=take("tier", storable, STANDARD_TIER).lower(),
            rates=(),
            valid_from=take("valid_from", day, None),
            valid_to=take("valid_to", day, None),
            source=take("source", _source, f"import of {self.name}"),
        )
        usual = _MILLION if UNITS[kind] == TOKENS else 1
        rate = Rate(
            kind,
            take("usd", amount, Decimal(0)),
            take("per", _positive, usual),
            take("above_input_tokens", _count, 0),
        )
        if sheet.valid_from and sheet.valid_to and sheet.valid_from >= sheet.valid_to:
            self.errors.append(
                f"{self.name}, {place}, column valid_to: the first day after the price's period "
                f"must be later than {sheet.valid_from}"
            )
        same = self.rates.setdefault(sheet, [])
        if any((r.kind, r.above_input_tokens) == (kind, rate.above_input_tokens) for r in same):
            self.errors.append(
                f"{self.name}, {place}, column kind: {kind} of {model} has two prices"
            )
        if len(self.errors) == before:
            same.append(rate)

    def sheets(self) -> list[CustomSheet]:
        """The sheets; if two match one name, the earlier one in the file wins."""
        return [
            CustomSheet(
                provider=sheet.provider,
                model=sheet.model,
                pattern=sheet.pattern,
                tier=sheet.tier,
                rates=tuple(rates),
                valid_from=sheet.valid_from,
                source=sheet.source,
                valid_to=sheet.valid_to,
                match_order=number,
            )
            for number, (sheet, rates) in enumerate(self.rates.items())
        ]


def _csv(text: str, name: str) -> list[tuple[str, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    entries: list[tuple[str, dict[str, str]]] = []
    try:
        header = next(reader, None) or [""]
        columns = [column.strip().lower() for column in header]
        _check_columns(columns, f"{name}, line 1")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(columns):
                    raise InvalidRequestError(
                        f"{name}, line {reader.line_num}: {len(cells)} cells, but line 1 has "
                        f"{len(columns)} columns"
                    )
                entry = dict(zip(columns, cells, strict=False))
                entries.append((f"line {reader.line_num}", entry))
    except csv.Error as error:
        # An unclosed quote makes the rest of the file one cell.
        raise InvalidRequestError(
            f"{name}, line {reader.line_num}: not valid CSV ({error}); check for a quote that is "
            "not closed"
        ) from None
    return entries


def _json(text: str, name: str) -> list[tuple[str, dict[str, str]]]:
    try:
        # Prices must never be a float.
        document: object = json.loads(text, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise InvalidRequestError(f"{name} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError(
            f"{name} is not a list of prices: the JSON is nested too deep"
        ) from None
    if not isinstance(document, list):
        raise InvalidRequestError(
            f"{name} must hold a list of objects, each with {', '.join(REQUIRED)}"
        )
    entries: list[tuple[str, dict[str, str]]] = []
    for number, entry in enumerate(cast("list[object]", document), start=1):
        if not isinstance(entry, dict):
            raise InvalidRequestError(f"{name}, entry {number}: not a JSON object")
        fields: dict[str, str] = {}
        for key, value in cast("dict[object, object]", entry).items():
            if isinstance(value, (dict, list)):
                raise InvalidRequestError(
                    f"{name}, entry {number}: {key} must be a string or a number"
                )
            fields[str(key)] = "" if value is None else str(value)
        _check_columns(fields, f"{name}, entry {number}")
        entries.append((f"entry {number}", fields))
    return entries


def _check_columns(columns: Iterable[str], place: str) -> None:
    names = set(columns)
    if missing := [column for column in REQUIRED if column not in names]:
        raise InvalidRequestError(f"{place}: column {', '.join(missing)} is missing")
    if unknown := sorted(names - {*REQUIRED, *OPTIONAL}):
        raise InvalidRequestError(
            f"{place}: unknown column {', '.join(unknown)}; use {', '.join((*REQUIRED, *OPTIONAL))}"
        )


def storable(text: str) -> str:
    """Text that is not empty and that the database can store.

    Raises:
        InvalidRequestError: it is empty, or contains a NUL or bytes that are not UTF-8.
    """
    if not text:
        raise InvalidRequestError("it is empty")
    # Bytes of a shell that are not UTF-8 arrive as lone surrogates.
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidRequestError(f"{text!r} contains characters that are not valid text")
    return text


def _kind(text: str) -> str:
    if text not in UNITS:
        raise InvalidRequestError(f"unknown kind {text!r}; use one of {', '.join(UNITS)}")
    return text


def _source(text: str) -> str:
    check_source(text)
    return storable(text)


def _positive(text: str) -> int:
    number = _count(text)
    if not number:
        raise InvalidRequestError("it is 0; give the number of units the price is for")
    return number


def _count(text: str) -> int:
    is_count = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_count or int(text) > 2**63 - 1:
        raise InvalidRequestError(f"{text!r} is not an integer of at least 0")
    return int(text)
