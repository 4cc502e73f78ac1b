"""`tokenledger purge` deletes calls, `tokenledger erase` takes a person out of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.cli.filters import conditions

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.purge import Purged


@click.command("purge")
@click.option("--project", help="Calls of this project.")
@click.option("--user", help="Calls of this user.")
@click.option("--organization", help="Calls of this organization.")
@click.option("--where", multiple=True, metavar="DIMENSION=VALUE", help="Any other dimension.")
@click.option("--from", "since", metavar="TIME", help="Start, included; without it, the beginning.")
@click.option("--to", "until", metavar="TIME", help="End, not included; without it, no end.")
@click.option("--simulate", is_flag=True, help="Count the same rows and change nothing.")
@click.option(
    "--include-aggregates",
    is_flag=True,
    help="Their sums of months that retention let go, too; other sums follow the calls anyway.",
)
@click.option("--erase", "erase_user", is_flag=True, help="As 'tokenledger erase --user'.")
@database_option
@explained
def command(  # noqa: PLR0913 - one argument an option
    *,
    project: str | None,
    user: str | None,
    organization: str | None,
    where: tuple[str, ...],
    since: str | None,
    until: str | None,
    simulate: bool,
    include_aggregates: bool,
    erase_user: bool,
    database_url: str | None,
) -> None:
    """Delete the calls all conditions hold for, and what is kept aside of them."""
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.maintenance.purge import purge

    if erase_user:
        if not user or any((project, organization, where, since, until, simulate)):
            raise InvalidRequestError(
                "--erase takes a person out of every row: give it --user alone"
            )
        _erase(database_url, user)
        return
    with open_database(database_url) as url:
        done = purge(
            url,
            project=project,
            user=user,
            organization=organization,
            where=conditions(where),
            time_from=parse_moment(since) if since else None,
            time_to=parse_moment(until) if until else None,
            simulate=simulate,
            include_aggregates=include_aggregates,
        )
    say(_told(done))


@click.command("erase")
@click.option("--user", required=True, help="The id to replace, as the app gave it.")
@database_option
@explained
def erase_command(*, user: str, database_url: str | None) -> None:
    """Put a random pseudonym in a person's place everywhere; the money stays.

    Rows that still wait in a spool are erased as they arrive.
    """
    _erase(database_url, user)


def _erase(database_url: str | None, user: str) -> None:
    from tokenledger_exporter.maintenance.erase import erase

    with open_database(database_url) as url:
        done = erase(url, user)
    say(
        f"erased as {done.pseudonym}: {done.events} calls, {done.duplicates} second tellings, "
        f"{done.conflicts} conflicts, {done.rejected} rejected rows, "
        f"{done.repricings} reasons of repricings"
    )
    if done.remains:
        places = ", ".join(f"{place} ({rows} calls)" for place, rows in done.remains.items())
        say(f"the id still stands where it is no user's id: {places}", err=True)


def _told(done: Purged) -> str:
    from tokenledger_exporter.pricing.book import plain_usd

    counts = asdict(done)
    verb = "would delete" if done.simulated else "deleted"
    aside = ", ".join(
        f"{counts[name]} {name}" for name in ("duplicates", "conflicts", "rejected", "repricings")
    )
    sums = f", {done.aggregates} sums of months let go" if done.aggregates else ""
    return f"{verb} {done.events} calls (${plain_usd(done.cost_usd)}), {aside}{sums}"
