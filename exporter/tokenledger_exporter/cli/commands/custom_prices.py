"""`tokenledger prices set` and `prices import`: what the user pays instead of the list price."""

from __future__ import annotations

import getpass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

import click

from tokenledger_exporter.cli.database import database_option, ledger_connection
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from decimal import Decimal

    from typing_extensions import ParamSpec

    from tokenledger_exporter.pricing.catalog.custom import Added, CustomSheet, Rate

    P = ParamSpec("P")

_MAX_PERCENT = 100


def _rate_options(command: Callable[P, None]) -> Callable[P, None]:
    for name, what in (
        ("--cache-write-1h", "Cache writes kept an hour."),
        ("--cache-write", "Cache writes."),
        ("--cached", "Input served from a cache; else like input."),
        ("--output", "Tokens out."),
        ("--input", "Tokens in."),
    ):
        command = click.option(name, metavar="USD", help=what)(command)
    return command


@click.command("set")
@click.argument("provider", required=False)
@click.argument("model", required=False)
@click.option("--provider", "discount_provider", help="Whose list prices a discount lowers.")
@click.option("--discount", metavar="PERCENT", help="A discount on every list price.")
@_rate_options
@click.option("--per", default=1_000_000, type=click.IntRange(min=1), help="Tokens it buys.")
@click.option("--tier", default="standard", help="Service tier it is for.")
@click.option("--from", "start", metavar="DATE", help="First UTC day it holds; today if left out.")
@click.option("--source", help="Where the price comes from, for the record.")
@click.option("--pattern", metavar="REGEX", help="Model names it is for; else MODEL and its dates.")
@database_option
@explained
def set_price(  # noqa: PLR0913 - one argument an option
    *,
    provider: str | None,
    model: str | None,
    discount_provider: str | None,
    discount: str | None,
    per: int,
    tier: str,
    start: str | None,
    source: str | None,
    pattern: str | None,
    database_url: str | None,
    **usd: str | None,
) -> None:
    """Say what MODEL costs at PROVIDER from a day on, in US dollars for 1,000,000 tokens.

    With --discount instead, lower every list price of --provider from a day on. What was said for
    earlier days stays; 'tokenledger reprice' applies a price to rows that are there already.
    """
    first = _first_day(start)
    if discount is not None:
        if provider or any(usd.values()) or not discount_provider:
            raise InvalidRequestError(
                "a discount is for all of a provider's list: "
                "'tokenledger prices set --discount 12.5 --provider openai'"
            )
        _set_discount(discount_provider, discount, first, database_url)
        return
    sheet = _own_sheet(
        provider or discount_provider, model, tier.lower(), first, _rates(usd, per), pattern, source
    )
    for added in _add([sheet], database_url):
        word = "holds" if added.is_new else "was said already and holds"
        say(f"{added.price_id} {word} from {first}")


@click.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@database_option
@explained
def import_file(*, file: TextIO, database_url: str | None) -> None:
    """Load the user's own prices from FILE, CSV or JSON (- is CSV on standard input), all or none.

    Columns: provider, model, kind, usd; and if wanted per, tier, above_input_tokens, valid_from,
    valid_to, source, pattern.
    """
    from tokenledger_exporter.pricing.catalog.custom_file import read_prices

    try:
        text = file.read()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{file.name} is no UTF-8 text: save it as UTF-8") from None
    added = _add(read_prices(text, file.name), database_url)
    new = sum(one.is_new for one in added)
    say(f"{new} price sheets are new, {len(added) - new} were said already")


def _set_discount(provider: str, discount: str, first: date, database_url: str | None) -> None:
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog.custom import add_sheets, discounted
    from tokenledger_exporter.pricing.catalog.custom_file import amount

    percent = amount(discount)
    if percent > _MAX_PERCENT:
        raise InvalidRequestError(f"{discount} % is no discount: give 0 to 100")
    with ledger_connection(database_url) as connection:
        sheets = discounted(connection, ledger_name(provider), percent, first)
        added = add_sheets(connection, sheets)
    new = sum(one.is_new for one in added)
    say(
        f"{new} price sheets of {ledger_name(provider)} are {discount} % lower from {first}, "
        f"{len(added) - new} were said already"
    )


def _add(sheets: list[CustomSheet], database_url: str | None) -> list[Added]:
    from tokenledger_exporter.pricing.catalog.custom import add_sheets

    with ledger_connection(database_url) as connection:
        return add_sheets(connection, sheets)


def _first_day(text: str | None) -> date:
    from tokenledger_exporter.pricing.catalog.custom_file import day

    return day(text) if text else datetime.now(timezone.utc).date()


def _rates(usd: dict[str, str | None], per: int) -> tuple[Rate, ...]:
    from tokenledger_exporter.pricing.catalog.custom import Rate
    from tokenledger_exporter.pricing.catalog.custom_file import amount

    kinds = {"cached": "cache_read"}
    given: dict[str, Decimal] = {}
    for name, text in usd.items():
        if text is not None:
            try:
                given[kinds.get(name, name)] = amount(text)
            except InvalidRequestError as error:
                raise InvalidRequestError(f"--{name.replace('_', '-')}: {error}") from None
    return tuple(Rate(kind, price, per) for kind, price in given.items())


def _own_sheet(  # noqa: PLR0913, PLR0917 - one argument an option
    provider: str | None,
    model: str | None,
    tier: str,
    first: date,
    rates: tuple[Rate, ...],
    pattern: str | None,
    source: str | None,
) -> CustomSheet:
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog import custom_file
    from tokenledger_exporter.pricing.catalog.custom import CustomSheet, check_source, model_pattern

    if not provider or not model or not rates:
        raise InvalidRequestError(
            "say whose model costs what: 'tokenledger prices set openai gpt-4o --input 2.5 "
            "--output 10'"
        )
    for text in (provider, model, tier, source):
        if text is not None:
            custom_file.storable(text)
    check_source(source or "")
    return CustomSheet(
        provider=ledger_name(provider),
        model=model,
        pattern=custom_file.pattern(pattern) if pattern else model_pattern(model),
        tier=tier,
        rates=rates,
        valid_from=first,
        source=source or f"said by {getpass.getuser()}",
    )
