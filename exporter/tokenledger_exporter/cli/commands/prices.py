"""`tokenledger prices`: list prices and custom prices."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from tokenledger_exporter.cli.commands import custom_prices
from tokenledger_exporter.cli.database import (
    database_option,
    format_option,
    ledger_connection,
)
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say, warn
from tokenledger_exporter.cli.period import UNTIL_HELP, read_period
from tokenledger_exporter.cli.progress import Progress
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.render.table import Cell


@click.group("prices", epilog="Example: tokenledger prices list --provider openai --model gpt-4o")
def command() -> None:
    """Show and set the prices of models: list prices and custom prices."""


command.add_command(custom_prices.set_price)
command.add_command(custom_prices.import_file)
command.add_command(custom_prices.prefer_reported)


@command.command(epilog="Example: tokenledger prices update")
@database_option
@explained
def update(database_url: str | None) -> None:
    """Load list prices from the installed genai-prices package; needs no network."""
    from importlib.metadata import version

    from tokenledger_exporter.pricing.catalog.genai_prices import import_package_prices

    with (
        ledger_connection(database_url) as connection,
        Progress("loading prices", "prices") as progress,
    ):
        added = import_package_prices(connection, progress.update)
    package = f"genai-prices {version('genai-prices')}"
    if added:
        say(f"{counted(added, 'new price')} from {package}")
    else:
        say(f"no new prices: the ledger has those of {package}")


@command.command("list", epilog="Example: tokenledger prices list --provider openai --model gpt-4o")
@click.option("--provider", help="Only this provider.")
@click.option("--model", help="Only price sheets that match this model name.")
@click.option("--at", default="now", help="Day to list prices for: today, 2026-11-01 ...")
@format_option
@database_option
@explained
def list_prices(
    *, provider: str | None, model: str | None, at: str, shape: str, database_url: str | None
) -> None:
    """List the price sheets for a given day, in US dollars per 1,000,000 tokens."""
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.pricing.catalog.lookup import LIST_COLUMNS, LIST_SHOWN, listed
    from tokenledger_exporter.render.table import render_rows

    name = ledger_name(provider) if provider else None
    day = parse_moment(at).date()
    with ledger_connection(database_url) as connection:
        rows = listed(connection, name, model, day)
    if shape == "table":
        shown = [{**row, **_rounded(row)} for row in rows]
        optional = ("valid_from", "valid_to", "hours", "source")
        click.echo(render_rows(LIST_SHOWN, shown, shape, optional=optional), nl=False)
    else:
        click.echo(render_rows(LIST_COLUMNS, rows, shape), nl=False)
    if not rows:
        fail("no price matches; 'tokenledger prices list' without filters lists all", FINDINGS)


@command.command(epilog="Example: tokenledger prices show openai gpt-4o --at 2026-11-01")
@click.argument("provider")
@click.argument("model")
@click.option("--at", default="now", help="Time of the call: now, 2026-11-01T09:30 ...")
@click.option("--tier", default="", help="Service tier: standard, batch, flex, priority ...")
@format_option
@database_option
@explained
def show(  # noqa: PLR0913 - one argument per option
    *, provider: str, model: str, at: str, tier: str, shape: str, database_url: str | None
) -> None:
    """Show the prices that apply to a call of MODEL at PROVIDER."""
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.pricing.catalog.lookup import SHOW_COLUMNS, notes, shown
    from tokenledger_exporter.render.table import render_rows

    timestamp = parse_moment(at)
    with ledger_connection(database_url) as connection:
        rows = shown(connection, ledger_name(provider), model, timestamp, tier)
    if shape == "table":
        click.echo(render_rows(SHOW_COLUMNS[:4], rows, shape), nl=False)
        say(*_sheet_lines(rows[0]))
    else:
        click.echo(render_rows(SHOW_COLUMNS, rows, shape), nl=False)
    for note in notes(rows, ledger_name(provider), model, tier):
        say(f"note: {note}", err=shape != "table")


@command.command(epilog="Example: tokenledger prices history openai gpt-4o")
@click.argument("provider")
@click.argument("model")
@format_option
@database_option
@explained
def history(*, provider: str, model: str, shape: str, database_url: str | None) -> None:
    """List all prices of MODEL at PROVIDER, latest first."""
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog import lookup
    from tokenledger_exporter.render.table import render_rows

    with ledger_connection(database_url) as connection:
        rows = lookup.history(connection, ledger_name(provider), model)
    columns = lookup.HISTORY_SHOWN if shape == "table" else lookup.HISTORY_COLUMNS
    click.echo(render_rows(columns, rows, shape, optional=("source",)), nl=False)


@command.command(epilog="Example: tokenledger prices diff --provider openai")
@click.option("--provider", help="Only this provider.")
@format_option
@database_option
@explained
def diff(*, provider: str | None, shape: str, database_url: str | None) -> None:
    """Compare the ledger with the installed genai-prices package; exit 1 if they differ."""
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
    from tokenledger_exporter.pricing.catalog.lookup import DIFF_COLUMNS, change_counts, difference
    from tokenledger_exporter.render.table import render_rows

    name = ledger_name(provider) if provider else None
    with ledger_connection(database_url) as connection:
        rows = difference(connection, package_rows(), name)
    whole, optional = ("model", "price_id"), ("price_id",)
    table = render_rows(DIFF_COLUMNS, rows, shape, optional=optional, whole=whole)
    click.echo(table, nl=False)
    if rows:
        counts = ", ".join(f"{count} {change}" for change, count in change_counts(rows).items())
        fail(f"{counts}; 'tokenledger prices update' loads the package's prices", FINDINGS)
    warn("the ledger has the prices of the installed package")


@command.command(epilog="Example: tokenledger prices doubt --provider openai")
@click.option(
    "--against",
    metavar="FILE",
    help="The second list, LiteLLM's model_prices_and_context_window.json; default: the one in the "
    "installed litellm package.",
)
@click.option("--provider", help="Only this provider.")
@click.option("--all", "with_judged", is_flag=True, help="Also differences that were judged.")
@click.option("--at", default="today", help="Day or time of the prices; a day means noon UTC.")
@format_option
@click.option(
    "--database-url",
    metavar="URL",
    help="Ledger to read prices from; default: the installed genai-prices package.",
)
@explained
def doubt(  # noqa: PLR0913 - one argument per option
    *,
    against: str | None,
    provider: str | None,
    with_judged: bool,
    at: str,
    shape: str,
    database_url: str | None,
) -> None:
    """List prices that a second public list disagrees about; exit 1 if one was not judged.

    In US dollars per 1,000,000 tokens, largest difference first. Needs no network. Judged
    differences are in judged_differences.json of this package, with the reason and its source.
    """
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.pricing.book import STANDARD_TIER
    from tokenledger_exporter.pricing.catalog import second_list
    from tokenledger_exporter.pricing.quote import quoted_moment
    from tokenledger_exporter.render.table import render_rows

    models, name = second_list.read_list(against), ledger_name(provider) if provider else None
    with _book(database_url) as prices_of:
        every = second_list.differences(models, prices_of, quoted_moment(at))
    rows = [second_list.shown(d) for d in every if name in {None, d.provider}]
    new = [row for row in rows if row["verdict"] is None]
    columns: tuple[str, ...] = second_list.DIFFERENCE_COLUMNS
    optional = ("above_input_tokens",)
    shown = rows if with_judged else new
    reasons: dict[Cell, str] = {}
    if shape == "table":
        # A reason is a sentence that many rows share: it stands once, below the table. Nearly
        # every tier is the standard one.
        columns = tuple(name for name in columns if name != "tier")
        for row in shown:
            if row["tier"] != STANDARD_TIER:
                row["kind"] = f"{row['kind']} {row['tier']}"
            if row["verdict"] is not None:
                row["verdict"] = reasons.setdefault(row["verdict"], f"[{len(reasons) + 1}]")
    click.echo(render_rows(columns, shown, shape, optional=optional), nl=False)
    say(*(f"{number} {reason}" for reason, number in reasons.items()))
    counts = f"{counted(len(rows), 'price')} differ{'s' * (len(rows) == 1)}"
    if new:
        fail(f"{counts}, and {len(new)} of them {_was(len(new))} not judged", FINDINGS)
    warn(f"{counts}; every difference was judged" if rows else "no price differs")


@command.command(epilog="Example: tokenledger prices missing --since 30d")
@click.option("--since", default="2015-01-01", help="Start of the period: 30d, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@format_option
@database_option
@explained
def missing(*, since: str, until: str, shape: str, database_url: str | None) -> None:
    """List models that have calls but no price; exit 1 if there are any."""
    from tokenledger_exporter.pricing.catalog import lookup
    from tokenledger_exporter.render.table import render_rows

    start, end = read_period(since, until)
    with ledger_connection(database_url) as connection:
        rows = lookup.missing(connection, start, end)
    columns = lookup.MISSING_COLUMNS
    if shape == "table":
        shown = [{**row, **_days(row)} for row in rows]
        tokens = ("input_tokens", "output_tokens")
        click.echo(render_rows(columns[:-1], shown, shape, optional=tokens), nl=False)
        for row in rows:
            say(f"-> {row['remedy']}", err=True)
    else:
        click.echo(render_rows(columns, rows, shape), nl=False)
    if rows:
        verb = "model has" if len(rows) == 1 else "models have"
        fail(f"{len(rows)} {verb} calls but no price", FINDINGS)
    warn("every call has a price")


@command.command(epilog="Example: tokenledger prices quote usage.json")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option(
    "--format", "shape", default="json", type=click.Choice(["json"]), help="Output format."
)
@click.option(
    "--database-url",
    metavar="URL",
    help="Ledger to read prices from; default: the installed genai-prices package.",
)
@explained
def quote(*, file: TextIO, shape: str, database_url: str | None) -> None:
    """Compute the cost of token counts: reads and prints one JSON object per line.

    FILE '-' reads standard input. Fields: provider, model, on, processing, input_tokens (includes
    cached tokens), cache_read, cache_write_5m, cache_write_1h, output_tokens. A label of yours goes
    into id or label. Exit 1 if a line has no price.
    """
    del shape  # There is only one format; scripts may name it.
    from tokenledger_exporter.pricing.quote import quote as answer
    from tokenledger_exporter.pricing.quote import read_shape

    unpriced = 0
    with _book(database_url) as prices_of:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                quoted = answer(read_shape(line), prices_of)
            except InvalidRequestError as error:
                raise InvalidRequestError(f"line {number}: {error}") from None
            unpriced += quoted.cost_usd is None
            click.echo(quoted.as_json())
    if unpriced:
        verb = "has" if unpriced == 1 else "have"
        fail(f"{counted(unpriced, 'line')} {verb} no cost; see the field 'note'", FINDINGS)


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _rounded(row: Mapping[str, Cell]) -> dict[str, Cell]:
    """A sheet's prices without the digits that a list computed with floats leaves behind."""
    from decimal import Decimal

    from tokenledger_exporter.pricing.book import plain_usd

    names = ("input_usd", "output_usd", "cached_usd")
    prices = {name: row[name] for name in names if row[name] is not None}
    return {name: plain_usd(round(Decimal(str(usd)), 9)) for name, usd in prices.items()}


def _days(row: Mapping[str, Cell]) -> dict[str, str]:
    """When a model was seen first and last, as days, which is enough for a table."""
    return {name: str(row[name])[: len("2026-11-01")] for name in ("first_seen", "last_seen")}


@contextmanager
def _book(database_url: str | None) -> Generator[Callable[[str], PriceBook]]:
    """The ledger's price book if a database URL is set, otherwise the package's."""
    from tokenledger_exporter.pricing.catalog.lookup import books_of
    from tokenledger_exporter.recorder.drainer import package_prices
    from tokenledger_semconv.settings import SettingsError, read_settings

    try:
        url = read_settings({"database_url": database_url}).database_url
    except SettingsError as error:
        raise InvalidRequestError(str(error)) from None
    if not url:
        yield lambda _provider: package_prices()
        return
    with ledger_connection(url) as connection:
        yield books_of(connection)


def _sheet_lines(row: Mapping[str, object]) -> list[str]:
    """The facts that all prices of a sheet have in common."""
    start, end = row["valid_from"], row["valid_to"]
    period = f"from {start or 'the beginning'}" + (f" to {end}" if end else "")
    hours = f", {row['hours']}" if row["hours"] else ""
    return [
        f"tier {row['tier']}, valid {period}{hours}",
        f"source {row['source']}, checked {row['checked_on']}",
        f"price {row['price_id']}",
    ]
