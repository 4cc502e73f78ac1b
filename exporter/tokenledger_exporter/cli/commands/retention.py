"""`tokenledger retention`: for how long calls are kept, and letting go of what is older."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.retention import Retention


@click.group("retention")
def command() -> None:
    """Keep calls for ever (as it is unless set), or let whole months go."""


@command.command("set")
@click.option("--keep", required=True, metavar="TIME", help="400d, 13mo, 2y, or forever.")
@click.option("--archive", "folder", default="", metavar="DIR", help="Write months there first.")
@database_option
@explained
def set_command(*, keep: str, folder: str, database_url: str | None) -> None:
    """Say for how long calls are kept; nothing goes before 'retention run'."""
    from tokenledger_exporter.maintenance.retention import set_retention

    with open_database(database_url) as url:
        say(_sentence(set_retention(url, keep, folder)))


@command.command("show")
@database_option
@explained
def show_command(*, database_url: str | None) -> None:
    """Say what was set, and since when calls are kept."""
    from tokenledger_exporter.maintenance.retention import show_retention

    with open_database(database_url) as url:
        say(_sentence(show_retention(url)))


@command.command("run")
@click.option("--simulate", is_flag=True, help="Say which months would go.")
@database_option
@explained
def run_command(*, simulate: bool, database_url: str | None) -> None:
    """Let the months go that are old enough; exit 1 if one could not be had."""
    from tokenledger_exporter.maintenance.retention import run_retention
    from tokenledger_exporter.pricing.book import plain_usd

    with open_database(database_url) as url:
        months = run_retention(url, simulate=simulate)
    for month in months:
        if month.waits:
            continue
        to = f" to {month.archived_to}" if month.archived_to else ""
        verb = "would let go" if simulate else f"archived{to}" if to else "dropped"
        say(f"{month.name}: {verb}, {month.rows} calls (${plain_usd(month.cost_usd)})")
    if not months:
        say("no month is old enough")
    if waiting := [f"{month.name}: {month.waits}" for month in months if month.waits]:
        fail("; ".join(waiting), FINDINGS)


def _sentence(found: Retention | None) -> str:
    if found is None:
        return "calls are kept for ever"
    archive = f"; older months go to {found.archive_to}" if found.archive_to else ""
    return (
        f"calls are kept for {found.keep}, today from {found.horizon:%Y-%m-%d} on{archive} "
        f"(set by {found.changed_by} on {found.recorded_at:%Y-%m-%d})"
    )
