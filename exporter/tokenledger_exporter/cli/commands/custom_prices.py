"""`tokenledger prices set` and `prices import`: custom prices that replace list prices."""

from __future__ import annotations

import getpass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

import click

from tokenledger_exporter.cli.database import database_option, ledger_connection
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from decimal import Decimal

    from typing_extensions import ParamSpec

    from tokenledger_exporter.pricing.catalog.custom import Added, CustomSheet, Rate

    P = ParamSpec("P")

_MAX_PERCENT = 100


def _rate_options(command: Callable[P, None]) -> Callable[P, None]:
    for name, description in (
        ("--cache-write-1h", "Price of cache writes with a lifetime of one hour."),
        ("--cache-write", "Price of cache writes."),
        ("--cached", "Price of input read from a cache; default: the input price."),
        ("--output", "Price of output tokens."),
        ("--input", "Price of input tokens."),
    ):
        command = click.option(name, metavar="USD", help=description)(command)
    return command


@click.command(
    "set", epilog="Example: tokenledger prices set openai acme-7b --input 0.5 --output 1.5"
)
@click.argument("provider", required=False)
@click.argument("model", required=False)
@click.option("--provider", "discount_provider", help="Provider that --discount applies to.")
@click.option("--discount", metavar="PERCENT", help="Percentage off every list price.")
@_rate_options
@click.option(
    "--per", default=1_000_000, type=click.IntRange(min=1), help="Number of tokens per price."
)
@click.option("--tier", default="standard", help="Service tier.")
@click.option("--from", "start", metavar="DATE", help="First day (UTC); default: today.")
@click.option("--source", help="Source of the price, such as a contract number.")
@click.option(
    "--pattern",
    metavar="REGEX",
    help="Regular expression for model names; default: MODEL and its dated names.",
)
@database_option
@explained
def set_price(  # noqa: PLR0913 - one argument per option
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
    """Set the price of MODEL at PROVIDER from a given day, in US dollars per 1,000,000 tokens.

    With --discount, lower every list price of --provider from that day instead. Earlier prices do
    not change. To apply a price to calls that are already recorded, run 'tokenledger reprice'.
    """
    first = _first_day(start)
    if discount is not None:
        if provider or any(usd.values()) or not discount_provider:
            raise InvalidRequestError(
                "--discount applies to all list prices of one provider; "
                "example: 'tokenledger prices set --discount 12.5 --provider openai'"
            )
        _set_discount(discount_provider, discount, first, database_url)
        return
    sheet = _custom_sheet(
        provider or discount_provider, model, tier.lower(), first, _rates(usd, per), pattern, source
    )
    for added in _add([sheet], database_url):
        verb = "is" if added.is_new else "already exists,"
        say(f"{added.price_id} {verb} valid from {first}")
        if added.is_new:
            scope = f"--provider {sheet.provider} --model {sheet.model}"
            say(f"recorded calls: tokenledger reprice {scope} --since {first}")


@click.command("import", epilog="Example: tokenledger prices import prices.csv")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@database_option
@explained
def import_file(*, file: TextIO, database_url: str | None) -> None:
    """Load custom prices from a CSV or JSON FILE; '-' reads CSV from standard input.

    Required columns: provider, model, kind, usd. Optional: per, tier, above_input_tokens,
    valid_from, valid_to, source, pattern. If one price is invalid, none is loaded.
    """
    from tokenledger_exporter.pricing.catalog.custom_file import read_prices

    try:
        text = file.read()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{file.name} is not UTF-8: save it as UTF-8") from None
    added = _add(read_prices(text, file.name), database_url)
    new = sum(sheet.is_new for sheet in added)
    say(f"{counted(new, 'new price sheet')}, {len(added) - new} already existed")


@click.command("prefer-reported", epilog="Example: tokenledger prices prefer-reported openrouter")
@click.argument("provider", required=False)
@click.option("--off", is_flag=True, help="Go back to the price list.")
@database_option
@explained
def prefer_reported(*, provider: str | None, off: bool, database_url: str | None) -> None:
    """Use the cost that PROVIDER itself reports as the cost of its calls.

    Without PROVIDER, list the providers this is set for. Calls without a reported cost keep the
    price list. To apply the change to calls that are already recorded, run 'tokenledger reprice'.
    """
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog import reported_costs

    if provider is None:
        if off:
            raise InvalidRequestError("--off needs a provider; example: prefer-reported xai --off")
        with ledger_connection(database_url) as connection:
            names = reported_costs.preferring_providers(connection)
        say(*(names or ["no provider's reported cost is preferred"]))
        return
    name = ledger_name(provider)
    with ledger_connection(database_url) as connection:
        changed = reported_costs.prefer_reported(connection, name, preferred=not off)
    cost = "their list price" if off else f"what {name} reports"
    say(f"calls of {name} {'now' if changed else 'already'} cost {cost}")
    if changed:
        say(f"recorded calls: tokenledger reprice --provider {name} --since 30d")


def _set_discount(provider: str, discount: str, first: date, database_url: str | None) -> None:
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog.custom import add_sheets, discounted
    from tokenledger_exporter.pricing.catalog.custom_file import amount

    percent = amount(discount)
    if percent > _MAX_PERCENT:
        raise InvalidRequestError(f"discount must be 0 to 100 percent, not {discount}")
    with ledger_connection(database_url) as connection:
        sheets = discounted(connection, ledger_name(provider), percent, first)
        added = add_sheets(connection, sheets)
    new = sum(sheet.is_new for sheet in added)
    say(
        f"{counted(new, 'new price sheet')} of {ledger_name(provider)} with {discount}% off "
        f"from {first}, {len(added) - new} already existed"
    )
    if new:
        name = ledger_name(provider)
        say(f"recorded calls: tokenledger reprice --provider {name} --since {first}")


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
    prices: dict[str, Decimal] = {}
    for name, text in usd.items():
        if text is not None:
            try:
                prices[kinds.get(name, name)] = amount(text)
            except InvalidRequestError as error:
                raise InvalidRequestError(f"--{name.replace('_', '-')}: {error}") from None
    return tuple(Rate(kind, price, per) for kind, price in prices.items())


def _custom_sheet(  # noqa: PLR0913, PLR0917 - one argument per option
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
            "a provider, a model and at least one price are required; "
            "example: 'tokenledger prices set openai gpt-4o --input 2.5 --output 10'"
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
        source=source or f"set by {getpass.getuser()}",
    )
