"""`tokenledger keep`: makes months ahead and settles rows, once for cron or for ever."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.outcome import explained


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

    Writers settle most rows themselves as they write them. Two keepers at once do no harm. Tables
    for this month and three ahead are made first.
    """
    import threading

    from tokenledger_exporter.errors import DatabaseUnreachableError

    with open_database(database_url) as url:
        if every_seconds is None:
            click.echo(_keep(url))
            return
        while True:
            try:
                if done := _keep(url, quiet=True):
                    click.echo(done)
            except DatabaseUnreachableError as error:
                click.echo(f"tokenledger: {error}", err=True)
            threading.Event().wait(every_seconds)


def _keep(url: str, *, quiet: bool = False) -> str:
    """Settle once; what was done, or nothing where that was nothing and nobody wants to know."""
    from tokenledger_exporter.database import session
    from tokenledger_exporter.keeper import Kept, settle_marked
    from tokenledger_exporter.retention import make_months_ahead

    with session(url) as connection:
        if why := make_months_ahead(connection):
            click.echo(f"tokenledger: {why}", err=True)
        kept = settle_marked(connection)
    if quiet and kept == Kept():
        return ""
    return (
        f"{kept.settled} rows settled, {kept.set_aside} set aside as second tellings, "
        f"{kept.restored} restored"
    )
