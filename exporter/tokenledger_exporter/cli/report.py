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
@database_option
@explained
def command(  # noqa: PLR0913 - one argument an option
    *, by: str, since: str, until: str, limit: int, shape: str, database_url: str | None
) -> None:
    """What calls cost, dearest first, with the coverage line. Times are UTC."""
    from tokenledger_exporter.database import session
    from tokenledger_exporter.formats import render
    from tokenledger_exporter.report import build_report
    from tokenledger_exporter.timespan import parse_moment

    start, end = parse_moment(since), parse_moment(until)
    if until.strip().lower() == "now":
        # Clocks of app and reader differ a little; a call of this second belongs in.
        end += timedelta(minutes=1)
    names = [name.strip() for name in by.split(",") if name.strip()]
    with open_database(database_url) as url, session(url) as connection:
        found = build_report(connection, names, start, end, limit=limit)
    click.echo(render(found, shape), nl=False)
