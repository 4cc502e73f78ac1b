"""`tokenledger report`: cost by any dimensions, as table, CSV, JSON or Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.output import (
    check_output,
    file_format_option,
    output_option,
    write_output,
)
from tokenledger_exporter.cli.period import UNTIL_HELP, month_option, read_period, timezone_option
from tokenledger_exporter.cli.waiting import warn_of_waiting_calls

if TYPE_CHECKING:
    import psycopg

    from tokenledger_exporter.queries.report import Report, ReportRequest


@click.command("report", epilog="Example: tokenledger report --by feature,model --since 7d --chart")
@click.option("--by", default="model", help="Dimensions, comma-separated.")
@click.option("--since", default="7d", help="Start of the period: 7d, 24h, today, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@month_option
@click.option(
    "--sort",
    metavar="KEY",
    help="cost, calls, tokens or a dimension of --by; default: hours, days and months in order, "
    "otherwise the highest cost first.",
)
@click.option("--limit", default=1_000, type=click.IntRange(min=1), help="Maximum number of rows.")
@file_format_option
@output_option
@click.option("--as-of", metavar="TIME", help="Report what the ledger contained at TIME.")
@click.option(
    "--as-if",
    metavar="MODEL",
    help="Show what the calls would cost at the prices of [PROVIDER/]MODEL.",
)
@where_option
@timezone_option
@click.option(
    "--compare",
    is_flag=True,
    help="Compare with the preceding period: of a month, the month before.",
)
@click.option(
    "--chart", is_flag=True, help="Draw bars, and the costs of hours, days or months over time."
)
@click.option(
    "--show-sql", is_flag=True, help="Print the SQL with its values instead of the report."
)
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    by: str,
    since: str,
    until: str,
    month: str | None,
    sort: str | None,
    limit: int,
    shape: str,
    output: str | None,
    as_of: str | None,
    as_if: str | None,
    where: tuple[str, ...],
    timezone: str,
    compare: bool,
    chart: bool,
    show_sql: bool,
    database_url: str | None,
) -> None:
    """Report the cost of calls by dimension. Times are UTC by default."""
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.db.shown_sql import collect_sql
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.queries.report import ReportRequest

    if sum(map(bool, (as_of, as_if, compare))) > 1:
        raise InvalidRequestError(
            "--as-of, --as-if and --compare cannot be combined: use one of them"
        )
    if chart and shape != "table":
        raise InvalidRequestError(f"--chart draws a table: leave out --format {shape}")
    check_output(shape, output)
    zone = zone_of(timezone)
    start, end = read_period(since, until, month, zone)
    names = [name.strip() for name in by.split(",") if name.strip()]
    request = ReportRequest(
        by=names,
        since=start,
        until=end,
        limit=limit,
        as_of=parse_moment(as_of, zone=zone) if as_of else None,
        where=conditions(where),
        zone=timezone,
        order_by=_order(sort, names),
    )
    with open_database(database_url) as url:
        with reading(url) as connection, connection.transaction(), collect_sql() as statements:
            report = _read(connection, request, as_if, compare=compare)
        if show_sql:
            click.echo("\n\n".join(statements))
            return
        warn_of_waiting_calls(url)
    _print(report, shape, output, chart=chart)


def _read(
    connection: psycopg.Connection[Any], request: ReportRequest, as_if: str | None, *, compare: bool
) -> Report:
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.report import compared_steps, report_steps
    from tokenledger_exporter.queries.what_if import build_as_if

    if as_if:
        return build_as_if(connection, request, as_if)
    return run_steps(connection, compared_steps(request) if compare else report_steps(request))


def _print(report: Report, shape: str, output: str | None, *, chart: bool) -> None:
    """Print the report, and on standard error what its format has no place for."""
    from tokenledger_exporter.render.chart import render_chart
    from tokenledger_exporter.render.report import render

    content: str | bytes
    if shape == "parquet":
        from tokenledger_exporter.render.parquet import report_parquet

        content = report_parquet(report)
    else:
        content = render_chart(report) if chart else render(report, shape)
    write_output(content, output)
    if shape in {"csv", "parquet"}:
        warn(report.coverage.sentence)
    if shape == "table" and not report.totals.calls:
        warn("no calls match")
    for note in report.notes:
        warn(f"note: {note}")


def _order(sort: str | None, names: list[str]) -> str:
    """The sort key of a request."""
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.queries.order import BY_TIME, ORDERS, TOKENS

    if not sort:
        return BY_TIME
    keys = {"cost": ORDERS[0], "calls": "calls", TOKENS: TOKENS, **{name: name for name in names}}
    if sort.strip() not in keys:
        raise InvalidRequestError(f"cannot sort by {sort!r}; use one of {', '.join(keys)}")
    return keys[sort.strip()]
