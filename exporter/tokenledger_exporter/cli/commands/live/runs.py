"""`tokenledger trace` and `tokenledger session`: what one run or session cost, call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained
from tokenledger_exporter.cli.period import UNTIL_HELP, read_period, timezone_option
from tokenledger_exporter.cli.waiting import warn_of_waiting_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec, Unpack

    P = ParamSpec("P")


def _options(command: Callable[P, None]) -> Callable[P, None]:
    """The options that both commands have."""
    for option in reversed(
        (
            click.option("--since", default="30d", help="Start of the period: 30d, 2026-11-01 ..."),
            click.option("--until", default="now", help=UNTIL_HELP),
            timezone_option,
            click.option(
                "--limit", default=200, type=click.IntRange(min=1), help="Maximum number of calls."
            ),
            click.option(
                "--format",
                "shape",
                default="table",
                type=click.Choice(["table", "json"]),
                help="Output format.",
            ),
            database_option,
        )
    ):
        command = option(command)
    return command


class _RunOptions(TypedDict):
    """The values of `_options`."""

    since: str
    until: str
    timezone: str
    limit: int
    shape: str
    database_url: str | None


@click.command("trace", epilog="Example: tokenledger trace 0af76519")
@click.argument("trace_id")
@_options
@explained
def trace(*, trace_id: str, **options: Unpack[_RunOptions]) -> None:
    """Show what a trace, such as the run of an agent, cost: its calls by time, and their sum.

    TRACE_ID is an OpenTelemetry trace id, or its first digits if no other trace begins with them.
    """
    _show("trace", trace_id, options)


@click.command("session", epilog="Example: tokenledger session conversation-42 --since 90d")
@click.argument("session_id")
@_options
@explained
def session(*, session_id: str, **options: Unpack[_RunOptions]) -> None:
    """Show what a session, such as a conversation, cost: its calls by time, and their sum.

    SESSION_ID is the session_id of the calls, or its beginning if no other session begins so.
    """
    _show("session", session_id, options)


def _show(kind: str, text: str, options: _RunOptions) -> None:
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.queries.live.runs import find_run
    from tokenledger_exporter.render.runs import run_json, run_text

    kinds = "" if kind == "trace" else f" --kind {kind}"
    remedy = f"--since looks further back, and 'tokenledger runs{kinds}' lists the ids"
    zone = zone_of(options["timezone"])
    start, end = read_period(options["since"], options["until"], zone=zone)
    with open_database(options["database_url"]) as url:
        with reading(url) as connection, connection.transaction():
            run = find_run(connection, kind, text, start, end, remedy=remedy)
        warn_of_waiting_calls(url)
    is_json = options["shape"] == "json"
    click.echo(run_json(run) if is_json else run_text(run, zone, options["limit"]), nl=False)
