"""`tokenledger report`: cost by any dimensions, as table, CSV, JSON or Markdown."""

from __future__ import annotations

from datetime import timedelta

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.outcome import explained


@click.command("report")
@click.option("--by", default="model", help="Dimensions, comma-separated.")
@click.option("--since", default="7d", help="Start: 7d, 24h, today, 2026-11-01 ...")
@click.option("--until", default="now", help="End, in the same forms.")
@click.option("--limit", default=1_000, type=click.IntRange(min=1), help="Most rows to print.")
@click.option(
    "--format",
    "shape",
    default="table",
    type=click.Choice(["table", "csv", "json", "md"]),
    help="How to print it.",
)
@click.option("--as-of", metavar="TIME", help="The ledger as it stood then: rows and costs.")
@click.option("--as-if", metavar="MODEL", help="With the prices of [PROVIDER/]MODEL instead.")
@database_option
@explained
def command(  # noqa: PLR0913 - one argument an option
    *,
    by: str,
    since: str,
    until: str,
    limit: int,
    shape: str,
    as_of: str | None,
    as_if: str | None,
    database_url: str | None,
) -> None:
    """What calls cost, dearest first, with the coverage line. Times are UTC."""
    from tokenledger_exporter.database import session
    from tokenledger_exporter.errors import UsageError
    from tokenledger_exporter.formats import render
    from tokenledger_exporter.report import build_report
    from tokenledger_exporter.timespan import parse_moment
    from tokenledger_exporter.what_if import build_as_if

    if as_of and as_if:
        raise UsageError("--as-of and --as-if cannot be asked for together: give one of them")
    start, end = parse_moment(since), parse_moment(until)
    if until.strip().lower() == "now":
        # Clocks of app and reader differ a little; a call of this second belongs in.
        end += timedelta(minutes=1)
    names = [name.strip() for name in by.split(",") if name.strip()]
    known = parse_moment(as_of) if as_of else None
    with open_database(database_url) as url, session(url) as connection:
        found = (
            build_as_if(connection, names, start, end, limit=limit, model=as_if)
            if as_if
            else build_report(connection, names, start, end, limit=limit, as_of=known)
        )
    click.echo(render(found, shape), nl=False)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
