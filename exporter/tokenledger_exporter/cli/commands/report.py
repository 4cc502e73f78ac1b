"""`tokenledger report`: cost by any dimensions, as table, CSV, JSON or Markdown."""

from __future__ import annotations

from datetime import timedelta

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.cli.filters import conditions


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
@click.option("--as-of", metavar="TIME", help="Report the ledger as it was at that time.")
@click.option("--as-if", metavar="MODEL", help="Use the prices of [PROVIDER/]MODEL instead.")
@click.option(
    "--where",
    multiple=True,
    metavar="DIMENSION=VALUE",
    help="Filter; repeatable. Values of one dimension are alternatives.",
)
@click.option(
    "--timezone",
    default="UTC",
    metavar="NAME",
    help="Time zone of hours, days and months, like Europe/Berlin.",
)
@click.option("--compare", is_flag=True, help="Compare with the previous period of equal length.")
@click.option(
    "--show-sql", is_flag=True, help="Print the SQL with its values instead of the report."
)
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
    where: tuple[str, ...],
    timezone: str,
    compare: bool,
    show_sql: bool,
    database_url: str | None,
) -> None:
    """Report what calls cost, highest cost first, with coverage. Times are UTC by default."""
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.db.shown_sql import collect_sql
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.queries.report import ReportRequest, compared_steps, report_steps
    from tokenledger_exporter.queries.what_if import build_as_if
    from tokenledger_exporter.render.report import render

    if sum(map(bool, (as_of, as_if, compare))) > 1:
        raise InvalidRequestError(
            "--as-of, --as-if and --compare cannot be asked for together: give one of them"
        )
    zone = zone_of(timezone)
    start, end = parse_moment(since, zone=zone), parse_moment(until, zone=zone)
    if until.strip().lower() == "now":
        # Clocks of app and reader differ a little; a call of this second belongs in.
        end += timedelta(minutes=1)
    asked = ReportRequest(
        by=[name.strip() for name in by.split(",") if name.strip()],
        since=start,
        until=end,
        limit=limit,
        as_of=parse_moment(as_of, zone=zone) if as_of else None,
        where=conditions(where),
        zone=timezone,
    )
    with (
        open_database(database_url) as url,
        reading(url) as connection,
        connection.transaction(),
        collect_sql() as statements,
    ):
        if as_if:
            found = build_as_if(connection, asked, as_if)
        else:
            found = run_steps(connection, compared_steps(asked) if compare else report_steps(asked))
    if show_sql:
        click.echo("\n\n".join(statements))
        return
    click.echo(render(found, shape), nl=False)
    for note in found.notes:
        say(f"note: {note}", err=True)
