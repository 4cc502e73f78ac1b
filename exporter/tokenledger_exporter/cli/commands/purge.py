"""`tokenledger purge` deletes calls; `tokenledger erase` replaces a user id with a pseudonym."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say, warn
from tokenledger_exporter.cli.filters import conditions
from tokenledger_exporter.cli.progress import Progress
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.purge import Purged


@click.command("purge", epilog="Example: tokenledger purge --user user_123 --simulate")
@click.option("--project", help="Only calls of this project.")
@click.option("--user", help="Only calls of this user.")
@click.option("--organization", help="Only calls of this organization.")
@click.option(
    "--where",
    multiple=True,
    metavar="DIMENSION=VALUE",
    help="Filter on any dimension; repeatable. Values of one dimension are alternatives.",
)
@click.option("--from", "since", metavar="TIME", help="Start, inclusive; default: no limit.")
@click.option("--to", "until", metavar="TIME", help="End, exclusive; default: no limit.")
@click.option("--simulate", is_flag=True, help="Count the rows without deleting them.")
@click.option(
    "--include-aggregates",
    is_flag=True,
    help="Also delete the roll-ups of months whose calls retention has already dropped.",
)
@click.option(
    "--erase", "erase_user", is_flag=True, help="With --user: same as 'tokenledger erase'."
)
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
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
    """Delete the calls that match all filters, with their duplicates, conflicts and repricings."""
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.maintenance.purge import purge

    if erase_user:
        if not user or any((project, organization, where, since, until, simulate)):
            raise InvalidRequestError(
                "--erase applies to all rows of one user: combine it with --user only"
            )
        _erase(database_url, user)
        return
    with open_database(database_url) as url:
        purged = purge(
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
    say(_summary(purged))


@click.command("erase", epilog="Example: tokenledger erase --user user_123")
@click.option("--user", required=True, help="User id to replace, exactly as the app sent it.")
@database_option
@explained
def erase_command(*, user: str, database_url: str | None) -> None:
    """Replace a user id with a random pseudonym in all rows; costs do not change.

    Rows that are still in a spool are erased when they are written.
    """
    _erase(database_url, user)


def _erase(database_url: str | None, user: str) -> None:
    from tokenledger_exporter.maintenance.erase import erase

    with open_database(database_url) as url, Progress("replacing the user id"):
        erased = erase(url, user)
    rows = {
        "call": erased.events,
        "duplicate": erased.duplicates,
        "conflict": erased.conflicts,
        "rejected row": erased.rejected,
        "reason of a repricing": erased.repricings,
    }
    if any(rows.values()):
        say(f"erased as {erased.pseudonym}: {_counts(rows)}")
    else:
        say(
            f"nothing matched: no row has this user id; calls of it that arrive later are stored "
            f"as {erased.pseudonym}"
        )
    if erased.remains:
        places = ", ".join(
            f"{place} ({counted(calls, 'call')})" for place, calls in erased.remains.items()
        )
        warn(f"the same value remains in columns other than the user id: {places}")


def _summary(purged: Purged) -> str:
    from tokenledger_exporter.pricing.book import plain_usd

    rows = {
        "duplicate": purged.duplicates,
        "conflict": purged.conflicts,
        "rejected row": purged.rejected,
        "repricing": purged.repricings,
        "roll-up of a dropped month": purged.aggregates,
    }
    if not purged.events and not any(rows.values()):
        return "nothing matched: no call was deleted"
    verb = "would delete" if purged.simulated else "deleted"
    more = f", {_counts(rows)}" if any(rows.values()) else ""
    return f"{verb} {counted(purged.events, 'call')} (${plain_usd(purged.cost_usd)}){more}"


def _counts(rows: dict[str, int]) -> str:
    """What was changed, without what was not."""
    plurals = {
        "reason of a repricing": "reasons of repricings",
        "roll-up of a dropped month": "roll-ups of dropped months",
    }
    return ", ".join(
        counted(count, noun, plurals.get(noun, "")) for noun, count in rows.items() if count
    )
