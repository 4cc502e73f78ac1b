"""`tokenledger top`: a live view of what calls cost."""

from __future__ import annotations

import shutil
import sys
import threading
from datetime import datetime, timedelta
from datetime import timezone as time_zones
from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.period import timezone_option
from tokenledger_exporter.errors import DatabaseUnreachableError, DatabaseUrlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from tokenledger_exporter.db.dimensions import Where

_GROUPS: Final = 10
_LINES_AROUND_GROUPS: Final = 23
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR_SCREEN: Final = "\x1b[2J"


@click.command("top", epilog="Example: tokenledger top --by user --where team=ml")
@click.option("--by", default="model", help="Dimensions of the groups, comma-separated.")
@click.option(
    "--hours",
    default=1,
    type=click.IntRange(1, 744),
    help="Show the groups with the highest cost of the last HOURS.",
)
@click.option("--limit", default=_GROUPS, type=click.IntRange(min=1), help="Number of groups.")
@where_option
@timezone_option
@click.option(
    "--every",
    "every_seconds",
    default=2.0,
    type=click.FloatRange(min=0.2),
    metavar="SECONDS",
    help="Refresh every SECONDS.",
)
@click.option("--once", is_flag=True, help="Print one frame and exit, as in a pipe.")
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    by: str,
    hours: int,
    limit: int,
    where: tuple[str, ...],
    timezone: str,
    every_seconds: float,
    once: bool,
    database_url: str | None,
) -> None:
    """Show what calls cost right now: the last minute, hour and day, and the highest costs.

    It refreshes until Ctrl-C. The figures equal those of reports. Calls that wait in a spool are
    not in the ledger yet.
    """
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.errors import InvalidRequestError

    zone = zone_of(timezone)
    names = [name.strip() for name in by.split(",") if name.strip()]
    if not names:
        raise InvalidRequestError("--by needs a dimension, such as model")
    is_live = sys.stdout.isatty() and not once
    if is_live:
        limit = max(1, min(limit, shutil.get_terminal_size().lines - _LINES_AROUND_GROUPS))
    request = (names, timedelta(hours=hours), conditions(where), limit)
    with open_database(database_url) as url:
        if is_live:
            _show(url, request, zone, every_seconds)
        else:
            click.echo(next(_frames(url, *request, zone)), nl=False)


def _frames(  # noqa: PLR0913, PLR0917 - the parts of a request
    url: str, by: list[str], length: timedelta, where: Where, limit: int, zone: tzinfo
) -> Iterator[str]:
    """Frame after frame, over one connection."""
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.live.top import frame_steps
    from tokenledger_exporter.render.top import render_frame

    with reading(url) as connection:
        while True:
            now = datetime.now(time_zones.utc)
            with connection.transaction():
                frame = run_steps(connection, frame_steps(now, by, length, where, limit))
            yield render_frame(frame, zone)


def _show(
    url: str,
    request: tuple[list[str], timedelta, Where, int],
    zone: tzinfo,
    every_seconds: float,
) -> None:
    """Draw frames over each other until Ctrl-C; a database that is away keeps the last frame."""
    text = ""
    click.echo(_HIDE_CURSOR + _CLEAR_SCREEN, nl=False)
    try:
        while True:
            try:
                for text in _frames(url, *request, zone):
                    _draw(text + f"\nevery {every_seconds:g} s, Ctrl-C to quit\n")
                    threading.Event().wait(every_seconds)
            except DatabaseUrlError:
                raise
            except DatabaseUnreachableError as error:
                if not text:
                    raise
                _draw(f"{text}\nthese figures are old: {error}\n")
            threading.Event().wait(every_seconds)
    except KeyboardInterrupt:
        return
    finally:
        click.echo(_SHOW_CURSOR, nl=False)


def _draw(text: str) -> None:
    """Replace what the screen shows, without flicker; lines that do not fit are left out."""
    lines = text.splitlines()[: shutil.get_terminal_size().lines - 1]
    body = "".join(f"{line}{_CLEAR_LINE}\r\n" for line in lines)
    click.echo(_HOME + body + _CLEAR_BELOW, nl=False)
