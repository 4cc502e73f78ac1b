"""`tokenledger retention`: how long calls are kept, and dropping older months."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say, warn
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.retention import Retention


@click.group("retention", epilog="Example: tokenledger retention set --keep 13mo")
def command() -> None:
    """Set how long calls are kept and drop older months; by default, calls are kept forever."""


@command.command("set", epilog="Example: tokenledger retention set --keep 13mo")
@click.option(
    "--keep",
    required=True,
    metavar="PERIOD",
    help="How long to keep calls: 400d, 13mo, 2y or forever.",
)
@click.option(
    "--archive",
    "folder",
    metavar="DIR",
    help="Export each month to this directory before it is dropped; default: as set before.",
)
@click.option("--no-archive", is_flag=True, help="Drop months without an export.")
@database_option
@explained
def set_command(
    *, keep: str, folder: str | None, no_archive: bool, database_url: str | None
) -> None:
    """Set how long calls are kept; 'retention run' and 'keep' drop older months."""
    from pathlib import Path

    from tokenledger_exporter.maintenance.archive import problem_with
    from tokenledger_exporter.maintenance.retention import set_retention

    if folder is not None and (no_archive or not folder.strip()):
        raise InvalidRequestError(
            "--archive needs a directory; --no-archive drops months without an export"
        )
    with open_database(database_url) as url:
        retention = set_retention(url, keep, "" if no_archive else folder)
    say(_sentence(retention))
    # Not an error: months are dropped where 'keep' or 'serve' runs, which may be elsewhere.
    archive_to = retention.archive_to if retention else ""
    if archive_to and (problem := problem_with(Path(archive_to))):
        warn(
            f"nothing can be archived from this machine: {problem}; the directory must be writable "
            "where 'tokenledger keep' runs"
        )


@command.command("show", epilog="Example: tokenledger retention show")
@database_option
@explained
def show_command(*, database_url: str | None) -> None:
    """Show the retention period and the earliest day that is kept."""
    from tokenledger_exporter.maintenance.retention import show_retention

    with open_database(database_url) as url:
        say(_sentence(show_retention(url)))


@command.command("run", epilog="Example: tokenledger retention run --simulate")
@click.option("--simulate", is_flag=True, help="List the months without dropping them.")
@database_option
@explained
def run_command(*, simulate: bool, database_url: str | None) -> None:
    """Drop the months that are older than the limit; exit 1 if a month could not be dropped."""
    from tokenledger_exporter.maintenance.retention import run_retention
    from tokenledger_exporter.pricing.book import plain_usd

    with open_database(database_url) as url:
        months = run_retention(url, simulate=simulate)
    for month in months:
        if month.waits:
            continue
        archive = f"archived to {month.archived_to}" if month.archived_to else ""
        verb = "would drop" if simulate else archive or "dropped"
        say(f"{month.name}: {verb}, {counted(month.rows, 'call')} (${plain_usd(month.cost_usd)})")
    if not months:
        say("no month is older than the limit")
    if waiting := [f"{month.name}: {month.waits}" for month in months if month.waits]:
        fail("; ".join(waiting), FINDINGS)


def _sentence(retention: Retention | None) -> str:
    if retention is None:
        return "calls are kept forever"
    archive = (
        f"; older months are archived in {retention.archive_to}" if retention.archive_to else ""
    )
    return (
        f"calls are kept for {retention.keep}, now from {retention.horizon:%Y-%m-%d}{archive} "
        f"(set by {retention.changed_by} on {retention.recorded_at:%Y-%m-%d})"
    )
