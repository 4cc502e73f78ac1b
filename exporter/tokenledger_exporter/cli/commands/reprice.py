"""`tokenledger reprice`: apply the current price book to calls that are already recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option, format_option, ledger_connection
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.period import UNTIL_HELP, read_period
from tokenledger_exporter.cli.progress import Progress
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from tokenledger_exporter.maintenance.reprice import Repricing
    from tokenledger_exporter.render.table import Cell

_STATUSES: Final = ("priced", "reported", "partial", "estimated", "unpriced")
_COLUMNS: Final = ("provider", "model", "rows", "filled", "old_usd", "new_usd", "difference_usd")


@click.command(
    "reprice", epilog="Example: tokenledger reprice --since 30d --status unpriced --dry-run"
)
@click.option("--since", required=True, help="Start of the period: 30d, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@click.option("--model", "models", multiple=True, help="Only this model; repeatable.")
@click.option("--provider", "providers", multiple=True, help="Only this provider; repeatable.")
@click.option("--status", help=f"Cost statuses, comma-separated: {', '.join(_STATUSES)}.")
@click.option("--dry-run", is_flag=True, help="Show the difference without changing anything.")
@click.option("--reason", help="Reason to store with each change; default: the command line.")
@format_option
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
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
    """Recalculate the cost of recorded calls with the prices in effect when they were made.

    It prints the difference, then updates the rows. Each changed cost is recorded in
    token_ledger_repricings: old and new cost, who, when and why. Calls that no longer have a price
    keep their cost. A second run changes nothing.
    """
    from tokenledger_exporter.domain.provider_names import ledger_name
    from tokenledger_exporter.maintenance.reprice import Selection, count_rows, reprice
    from tokenledger_exporter.render.table import render_rows

    start, end = read_period(since, until)
    selection = Selection(
        since=start,
        until=end,
        models=list(models) or None,
        providers=[ledger_name(provider) for provider in providers] or None,
        statuses=_statuses(status),
    )
    with ledger_connection(database_url) as connection:
        with Progress("calculating costs", "rows") as progress:
            total = count_rows(connection, selection) if progress.is_shown else None
            repricing = reprice(
                connection, selection, reason=None, total=total, on_progress=progress.update
            )
        text = render_rows(
            _COLUMNS,
            _rows(repricing),
            shape,
            looked_at=repricing.looked_at,
            kept=repricing.unpriced,
            dry_run=dry_run,
        )
        click.echo(text, nl=False)
        connection.rollback()
        if repricing.rows and not dry_run:
            reason = reason or f"tokenledger reprice --since {since}"
            total = repricing.looked_at
            with Progress("repricing", "rows") as progress:
                repricing = reprice(
                    connection, selection, reason=reason, total=total, on_progress=progress.update
                )
    warn(_sentence(repricing, dry_run=dry_run))


def _statuses(text: str | None) -> list[str] | None:
    if not text:
        return None
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in _STATUSES]:
        raise InvalidRequestError(
            f"unknown status {', '.join(unknown)}; use {', '.join(_STATUSES)}"
        )
    return names


def _rows(repricing: Repricing) -> list[dict[str, Cell]]:
    from tokenledger_exporter.pricing.book import plain_usd

    return [
        {
            "provider": provider,
            "model": model,
            "rows": change.rows,
            "filled": change.filled,
            # The cost of rows that had none was unknown, not 0.
            "old_usd": plain_usd(change.old_usd) if change.filled < change.rows else None,
            "new_usd": plain_usd(change.new_usd),
            "difference_usd": plain_usd(change.difference_usd),
        }
        for (provider, model), change in sorted(repricing.changes.items())
    ]


def _sentence(repricing: Repricing, *, dry_run: bool) -> str:
    if not repricing.looked_at:
        return "nothing matched: no call was repriced"
    verb = "would change (dry run, nothing was written)" if dry_run else "changed"
    rows = repricing.rows if dry_run else repricing.written
    unpriced = ""
    if repricing.unpriced:
        verbs = (
            "has a price and keeps its"
            if repricing.unpriced == 1
            else "have a price and keep their"
        )
        unpriced = f", {repricing.unpriced:,} no longer {verbs} cost"
    return f"{rows:,} of {counted(repricing.looked_at, 'row')} {verb}{unpriced}"
