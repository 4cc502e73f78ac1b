"""`tokenledger keep`: maintains the ledger, once or in a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say, warn
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.runner import MaintenanceRunner, Round

# How long a single round waits for the messages of its alerts.
_LAST_MESSAGES_SECONDS: Final = 120.0


@click.command("keep", epilog="Example: tokenledger keep --every 60")
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Repeat every SECONDS; default: run once.",
)
@database_option
@explained
def command(*, every_seconds: float | None, database_url: str | None) -> None:
    """Maintain the ledger: partitions, deduplication, roll-ups, retention, alerts.

    Creates the partitions of this month and the next three. Deduplicates the rows that no writer
    could compare: each call becomes one row, however many spans reported it. Refreshes the roll-ups
    that reports read. Drops months that are older than 'tokenledger retention' allows. Checks
    alerts and sends their messages, at most every 30 seconds. Several processes may run this at
    once.
    """
    from tokenledger_exporter.alerts.background import AlertThread
    from tokenledger_exporter.maintenance.runner import MaintenanceRunner

    with open_database(database_url) as url:
        alerts = AlertThread(url)
        with MaintenanceRunner(url, last_step=alerts) as runner:
            if every_seconds is None:
                done = runner.round()
                sentences, troubles = alerts.ended(_LAST_MESSAGES_SECONDS)
                done.sentences += sentences
                done.troubles += troubles
                _print_round(done, is_brief=False)
                return
            _repeat(runner, every_seconds)


def _repeat(runner: MaintenanceRunner, every_seconds: float) -> None:
    import threading

    from tokenledger_exporter.errors import DatabaseUnreachableError

    while True:
        try:
            _print_round(runner.round(), is_brief=True)
        except DatabaseUnreachableError as error:
            warn(str(error))
        threading.Event().wait(every_seconds)


def _print_round(done: Round, *, is_brief: bool) -> None:
    """Print what a round did; in a loop, only what is not the same in every round."""
    for trouble in done.troubles:
        warn(str(trouble))
    rows, sums = done.deduplicated, done.rolled_up
    if not is_brief or rows != type(rows)():
        say(
            f"{counted(rows.settled, 'row')} checked for duplicates, "
            f"{counted(rows.moved, 'duplicate')} moved, {rows.restored:,} restored"
        )
    if sums.days or (not is_brief and sums != type(sums)()):
        say(
            f"sums updated: {counted(sums.slices, 'slice')}, {counted(sums.hours, 'hour')}, "
            f"{counted(sums.days, 'past day')}"
        )
    if done.recounted.accounts:
        from tokenledger_exporter.pricing.book import plain_usd

        say(
            f"budgets corrected: {counted(done.recounted.accounts, 'sum')} differed from the calls "
            f"by ${plain_usd(done.recounted.wrong_usd)} in all"
        )
    for sentence in done.sentences:
        say(sentence)
    for month in done.months:
        say(f"{month.name} dropped, {counted(month.rows, 'call')}")
