"""`tokenledger why`: the causes of a change of cost."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.output import output_option, write_output
from tokenledger_exporter.cli.period import UNTIL_HELP, month_option, read_period, timezone_option
from tokenledger_exporter.cli.waiting import warn_of_waiting_calls


@click.command("why", epilog="Example: tokenledger why --since 7d --by feature --where team=ml")
@click.option("--by", default="feature", help="Dimension whose values are compared.")
@click.option("--since", default="7d", help="Start of the period: 7d, 24h, today, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@month_option
@where_option
@click.option(
    "--detail/--no-detail",
    default=None,
    help="Read every call, which splits the cost per token into output share, cache share, service "
    "tier and price; default: if there are at most 100,000 calls.",
)
@click.option(
    "--format",
    "shape",
    default="table",
    type=click.Choice(["table", "csv", "json", "md"]),
    help="Output format.",
)
@click.option(
    "--limit",
    default=100,
    type=click.IntRange(min=1),
    help="Maximum number of drivers of a cause in csv and json.",
)
@output_option
@timezone_option
@click.option(
    "--show-sql", is_flag=True, help="Print the SQL with its values instead of the result."
)
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    by: str,
    since: str,
    until: str,
    month: str | None,
    where: tuple[str, ...],
    detail: bool | None,
    shape: str,
    limit: int,
    output: str | None,
    timezone: str,
    show_sql: bool,
    database_url: str | None,
) -> None:
    """Say why the cost differs from that of the preceding period.

    The causes add up to the difference exactly, and each names the value that drives it.
    """
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.db.shown_sql import collect_sql
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.why import WhyRequest, why_steps
    from tokenledger_exporter.render.why import render_why

    start, end = read_period(since, until, month, zone_of(timezone))
    request = WhyRequest(by.strip(), start, end, conditions(where), detail, timezone)
    with open_database(database_url) as url:
        with reading(url) as connection, connection.transaction(), collect_sql() as statements:
            report = run_steps(connection, why_steps(request))
        if show_sql:
            click.echo("\n\n".join(statements))
            return
        warn_of_waiting_calls(url)
    write_output(render_why(report, shape, limit=limit), output)
    if shape == "csv":
        warn(report.coverage.sentence)
        warn(f"preceding period: {report.previous_coverage.sentence}")
    for note in report.notes:
        warn(f"note: {note}")
