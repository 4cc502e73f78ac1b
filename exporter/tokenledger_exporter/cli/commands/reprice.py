"""`tokenledger reprice`: apply today's knowledge of prices to rows that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option, format_option, ledger_connection
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.reprice import Repricing
    from tokenledger_exporter.render.table import Cell

_STATUSES: Final = ("priced", "partial", "estimated", "unpriced")
_COLUMNS: Final = ("provider", "model", "rows", "filled", "old_usd", "new_usd", "difference_usd")


@click.command("reprice")
@click.option("--since", required=True, help="Calls from then on: 30d, 2026-11-01 ...")
@click.option("--until", default="now", help="And before then.")
@click.option("--model", "models", multiple=True, help="Only this model; may be said again.")
@click.option("--provider", "providers", multiple=True, help="Only this provider; may be repeated.")
@click.option("--status", help=f"Only these, comma-separated: {', '.join(_STATUSES)}.")
@click.option("--dry-run", is_flag=True, help="Show the difference and change nothing.")
@click.option("--reason", help="Why, for the record; else the command itself.")
@format_option
@database_option
@explained
def command(  # noqa: PLR0913 - one argument an option
    *,
    since: str,
    until: str,
    models: tuple[str, ...],
    providers: tuple[str, ...],
    status: str | None,
    dry_run: bool,
    reason: str | None,
    shape: str,
    database_url: str | None,
) -> None:
    """Price calls again, each by its own time: the difference first, then the rows, with a trail.

    Every changed cost is in token_ledger_repricings: old, new, who, when and why. Rows that nobody
    prices now keep their cost; running it twice changes nothing the second time.
    """
    from datetime import timedelta

    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.domain.time_expressions import parse_moment
    from tokenledger_exporter.maintenance.reprice import Selection, reprice
    from tokenledger_exporter.render.table import render_rows

    start, end = parse_moment(since), parse_moment(until)
    if until.strip().lower() == "now":
        # Clocks of app and reader differ a little; a call of this second belongs in.
        end += timedelta(minutes=1)
    if start > end:
        raise InvalidRequestError(
            f"the start {start.isoformat()} is after the end {end.isoformat()}"
        )
    selection = Selection(
        since=start,
        until=end,
        models=list(models) or None,
        providers=[ledger_name(provider) for provider in providers] or None,
        statuses=_statuses(status),
    )
    with ledger_connection(database_url) as connection:
        found = reprice(connection, selection, reason=None)
        totals = {"looked_at": found.looked_at, "kept": found.unpriced, "dry_run": dry_run}
        click.echo(render_rows(_COLUMNS, _rows(found), shape, **totals), nl=False)
        connection.rollback()
        if found.rows and not dry_run:
            why = reason or f"tokenledger reprice --since {since}"
            found = reprice(connection, selection, reason=why)
    say(_sentence(found, dry_run=dry_run), err=True)


def _statuses(text: str | None) -> list[str] | None:
    if not text:
        return None
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in _STATUSES]:
        raise InvalidRequestError(
            f"{', '.join(unknown)} is no status to price again: give {', '.join(_STATUSES)}"
        )
    return names


def _rows(found: Repricing) -> list[dict[str, Cell]]:
    from tokenledger_exporter.pricing.book import plain_usd

    return [
        {
            "provider": provider,
            "model": model,
            "rows": change.rows,
            "filled": change.filled,
            "old_usd": plain_usd(change.old_usd),
            "new_usd": plain_usd(change.new_usd),
            "difference_usd": plain_usd(change.difference_usd),
        }
        for (provider, model), change in sorted(found.changes.items())
    ]


def _sentence(found: Repricing, *, dry_run: bool) -> str:
    done = "would change (dry run, nothing was written)" if dry_run else "changed"
    rows = found.rows if dry_run else found.written
    unpriced = f", {found.unpriced} have no price now and keep their cost" if found.unpriced else ""
    return f"{rows} of {found.looked_at} rows {done}{unpriced}"
