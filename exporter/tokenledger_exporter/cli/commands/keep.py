"""`tokenledger keep`: makes months ahead, settles, rolls up and lets go, once or for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.runner import Round


@click.command("keep")
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Go on for ever with pauses of this long; without it, once.",
)
@database_option
@explained
def command(*, every_seconds: float | None, database_url: str | None) -> None:
    """Settle the rows that no writer could: then every call is one row, however many spans told it.

    Writers settle most rows themselves as they write them. Then the roll-ups that reports read are
    brought up to date, and months that are older than 'tokenledger retention' says are let go. Two
    keepers at once do no harm. Tables for this month and three ahead are made first.
    """
    import threading

    from tokenledger_exporter.errors import DatabaseUnreachableError
    from tokenledger_exporter.maintenance.runner import Keeper

    with open_database(database_url) as url, Keeper(url) as keeper:
        if every_seconds is None:
            _say(keeper.round(), quiet=False)
            return
        while True:
            try:
                _say(keeper.round(), quiet=True)
            except DatabaseUnreachableError as error:
                say(f"tokenledger: {error}", err=True)
            threading.Event().wait(every_seconds)


def _say(done: Round, *, quiet: bool) -> None:
    """What was done; where nobody wants to know of every round, only what is not of every one."""
    for trouble in done.troubles:
        say(f"tokenledger: {trouble}", err=True)
    kept, sums = done.kept, done.rolled_up
    if not quiet or kept != type(kept)():
        say(
            f"{kept.settled} rows settled, {kept.set_aside} set aside as second tellings, "
            f"{kept.restored} restored"
        )
    if sums.days or (not quiet and sums != type(sums)()):
        say(f"rolled up: {sums.slices} slices, {sums.hours} hours, {sums.days} days before")
    for month in done.months:
        say(f"{month.name} let go, {month.rows} calls")
