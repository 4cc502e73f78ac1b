"""`tokenledger tail`: single calls, oldest first, and each new one as it is committed."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.period import timezone_option
from tokenledger_exporter.errors import DatabaseUnreachableError, DatabaseUrlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.queries.live.follow import CallFollower

    Show = Callable[[dict[str, Any]], str]

_PERIOD: Final = timedelta(days=7)
_CLOCKS_DIFFER: Final = timedelta(minutes=1)


@click.command("tail", epilog="Example: tokenledger tail -f --where team=ml")
@click.option("-f", "--follow", is_flag=True, help="Wait for new calls; Ctrl-C ends it.")
@click.option(
    "-n", "--lines", default=10, type=click.IntRange(min=0), help="How many past calls to print."
)
@where_option
@timezone_option
@click.option(
    "--every",
    "every_seconds",
    default=1.0,
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="With --follow: look for new calls every SECONDS.",
)
@click.option(
    "--late-by",
    "late_by_hours",
    default=24.0,
    type=click.FloatRange(min=0.1),
    metavar="HOURS",
    help="With --follow: also print calls that are written up to HOURS after they began.",
)
@click.option(
    "--format",
    "shape",
    default="text",
    type=click.Choice(["text", "json"]),
    help="Output format; json is one line for each call.",
)
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    follow: bool,
    lines: int,
    where: tuple[str, ...],
    timezone: str,
    every_seconds: float,
    late_by_hours: float,
    shape: str,
    database_url: str | None,
) -> None:
    """Print the newest calls, oldest first, one line each; -f prints new ones as they arrive.

    While it follows, each call is printed once, in the order in which the calls are committed, also
    if they began earlier.
    """
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.queries.calls import FOLLOWED_COLUMNS
    from tokenledger_exporter.queries.live.follow import CallFollower
    from tokenledger_exporter.render.calls import call_line, json_line
    from tokenledger_exporter.render.columns import terminal_width

    zone, filters = zone_of(timezone), conditions(where)
    follower = CallFollower(filters, timedelta(hours=late_by_hours))

    def show(call: dict[str, Any]) -> str:
        if shape == "json":
            return json_line(call, FOLLOWED_COLUMNS)
        return call_line(call, zone, terminal_width() if sys.stdout.isatty() else None)

    with open_database(database_url) as url:
        try:
            _print(_past(url, follower, filters, lines), show)
            if follow:
                _follow(url, follower, every_seconds, show)
        except KeyboardInterrupt:
            return


def _past(url: str, follower: CallFollower, where: Where, limit: int) -> list[dict[str, Any]]:
    """The newest calls, oldest first; the follower begins behind them, in the same snapshot."""
    from datetime import datetime, timezone

    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.queries.calls import FOLLOWED_COLUMNS, newest_calls

    now = datetime.now(timezone.utc)
    with reading(url) as connection, connection.transaction():
        follower.start(connection)
        calls = newest_calls(
            connection, now - _PERIOD, now + _CLOCKS_DIFFER, where, limit, FOLLOWED_COLUMNS
        )
    return calls[::-1]


def _follow(url: str, follower: CallFollower, every_seconds: float, show: Show) -> None:
    """Poll until Ctrl-C; a database that is away is mentioned once and asked again."""
    is_away = False
    while True:
        try:
            for calls in _polls(url, follower, every_seconds):
                if is_away:
                    warn("the database is back")
                    is_away = False
                _print(calls, show)
        except DatabaseUrlError:
            raise
        except DatabaseUnreachableError as error:
            if not is_away:
                warn(f"{error}; trying again, no call will be missed")
            is_away = True
        threading.Event().wait(every_seconds)


def _polls(
    url: str, follower: CallFollower, every_seconds: float
) -> Iterable[list[dict[str, Any]]]:
    """The new calls of each poll, over one connection."""
    from tokenledger_exporter.db.connection import reading

    with reading(url) as connection:
        while True:
            yield follower.poll(connection)
            threading.Event().wait(every_seconds)


def _print(calls: list[dict[str, Any]], show: Show) -> None:
    for call in calls:
        click.echo(show(call))
