"""`tokenledger runs`: agent runs or sessions with what they cost, highest cost first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    from datetime import tzinfo

    from tokenledger_exporter.queries.lists.runs import RunPage

_SORTED: Final = {"cost": "highest cost first", "time": "latest first", "calls": "most calls first"}
_MEMBERSHIP: Final = {
    "trace": "a call belongs to a trace if its span is part of one",
    "session": "a call belongs to a session if the app sets session_id",
}


@click.command("runs", epilog="Example: tokenledger runs --since 7d --where team=ml")
@click.option(
    "--kind",
    default="trace",
    type=click.Choice(list(_MEMBERSHIP)),
    help="What is a run: a trace, such as an agent run, or a session.",
)
@click.option("--since", default="7d", help="Start of the period: 7d, 24h, today, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@month_option
@where_option
@timezone_option
@click.option(
    "--sort",
    default="cost",
    type=click.Choice(list(_SORTED)),
    help="Highest cost, latest start or most calls first.",
)
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="Maximum number of runs.")
@file_format_option
@output_option
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    kind: str,
    since: str,
    until: str,
    month: str | None,
    where: tuple[str, ...],
    timezone: str,
    sort: str,
    limit: int,
    shape: str,
    output: str | None,
    database_url: str | None,
) -> None:
    """List traces, such as agent runs, or sessions with their cost, highest first.

    A run has the figures of its calls in the period that match the filters. A table shortens the
    ids of traces; 'tokenledger trace' takes the short form too, and shows one call by call.
    """
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.lists.runs import run_page_steps

    check_output(shape, output)
    zone = zone_of(timezone)
    start, end = read_period(since, until, month, zone)
    steps = run_page_steps(kind, start, end, conditions(where), order=sort, limit=limit)
    with open_database(database_url) as url:
        with reading(url) as connection, connection.transaction():
            page = run_steps(connection, steps)
        warn_of_waiting_calls(url)
    write_output(_content(page, shape, zone), output)
    _remark(page, sort, has_coverage=shape in {"table", "json"})


def _content(page: RunPage, shape: str, zone: tzinfo) -> str | bytes:
    if shape == "parquet":
        from tokenledger_exporter.render.parquet import runs_parquet

        return runs_parquet(page)
    from tokenledger_exporter.render.run_list import run_list

    return run_list(page, shape, zone)


def _remark(page: RunPage, sort: str, *, has_coverage: bool) -> None:
    """Say what a reader of the list must know."""
    if page.runs and not has_coverage:
        warn(page.coverage.sentence)
    for note in page.notes:
        warn(f"note: {note}")
    if not page.runs:
        warn(f"no {page.kind}s match; {_MEMBERSHIP[page.kind]}")
    elif page.count > len(page.runs):
        shown = f"{len(page.runs):,} of {page.count:,} {page.kind}s"
        warn(f"{shown}, {_SORTED[sort]}; --limit shows more")
