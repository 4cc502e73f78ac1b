"""`tokenledger calls`: single calls, newest, costliest or slowest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.output import (
    check_output,
    file_format_option,
    output_option,
    write_output,
)
from tokenledger_exporter.cli.period import UNTIL_HELP, month_option, read_period, timezone_option
from tokenledger_exporter.cli.waiting import warn_of_waiting_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from tokenledger_exporter.render.table import Cell

# From this width on, a table shows whole ids and times.
_WIDE: Final = 120
_SHORT_ID: Final = len("01a20298-6851")
_SHOWN: Final = (
    *("id", "time", "model", "user", "feature", "took", "tokens", "cost $", "cost status"),
)
_OPTIONAL: Final = ("user",)
_FIRST: Final = {"time": "newest", "cost": "costliest", "duration": "slowest"}
_WHOLE: Final = ("id", "time")


@click.command("calls", epilog="Example: tokenledger calls --where user=user_123 --since yesterday")
@click.option("--since", default="7d", help="Start of the period: 7d, 24h, today, 2026-11-01 ...")
@click.option("--until", default="now", help=UNTIL_HELP)
@month_option
@where_option
@timezone_option
@click.option(
    "--sort",
    default="time",
    type=click.Choice(list(_FIRST)),
    help="Newest, highest cost or longest duration first; unknown values come last.",
)
@click.option("--limit", default=20, type=click.IntRange(min=1), help="Maximum number of calls.")
@file_format_option
@output_option
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    since: str,
    until: str,
    month: str | None,
    where: tuple[str, ...],
    timezone: str,
    sort: str,
    limit: int,
    shape: str,
    output: str | None,
    database_url: str | None,
) -> None:
    """List single calls, newest first, with their ids, tokens, costs and durations.

    A table shortens ids; 'tokenledger explain' takes the short form too. The other formats have
    more columns.
    """
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.calls import CALL_COLUMNS
    from tokenledger_exporter.queries.lists.calls import CallSearch, call_page_steps

    check_output(shape, output)
    zone = zone_of(timezone)
    start, end = read_period(since, until, month, zone)
    with open_database(database_url) as url:
        with reading(url) as connection:
            search = CallSearch(start, end, conditions(where), order=sort)
            page = run_steps(connection, call_page_steps(search, limit, columns=CALL_COLUMNS))
        warn_of_waiting_calls(url)
    write_output(_content(page.calls, shape, zone, sort), output)
    if not page.calls:
        warn("no calls match")
    elif page.older:
        first = _FIRST[sort]
        subject = f"this is the {first} call" if limit == 1 else f"these are the {first} {limit:,}"
        warn(f"{subject}; --limit shows more")


def _content(
    calls: Sequence[Mapping[str, Any]], shape: str, zone: tzinfo, sort: str
) -> str | bytes:
    from tokenledger_exporter.queries.calls import CALL_COLUMNS
    from tokenledger_exporter.render.calls import plain_call
    from tokenledger_exporter.render.columns import terminal_width
    from tokenledger_exporter.render.table import render_rows

    if shape == "parquet":
        from tokenledger_exporter.render.parquet import calls_parquet

        return calls_parquet(calls)
    if shape == "table":
        is_wide = terminal_width() >= _WIDE
        rows = [_shown(call, zone, is_wide=is_wide) for call in calls]
        shows_duration = is_wide or sort == "duration"
        columns = [name for name in _SHOWN if shows_duration or name != "took"]
        return render_rows(columns, rows, shape, optional=_OPTIONAL, whole=_WHOLE)
    return render_rows(CALL_COLUMNS, [plain_call(call) for call in calls], shape)


def _shown(call: Mapping[str, Any], zone: tzinfo, *, is_wide: bool) -> dict[str, Cell]:
    time = call["timestamp"].astimezone(zone)
    cost, took = call["cost_usd"], call["duration_ms"]
    return {
        "id": str(call["event_id"])[: None if is_wide else _SHORT_ID],
        "time": f"{time:%Y-%m-%d %H:%M:%S}" if is_wide else f"{time:%m-%d %H:%M}",
        "model": call["model"],
        "user": call["user_id"],
        "feature": call["feature"],
        "took": None if took is None else f"{took / 1_000:,.1f} s",
        "tokens": call["total_tokens"],
        "cost $": "unknown" if cost is None else f"{cost:,.6f}",
        "cost status": "" if call["cost_status"] == "priced" else call["cost_status"],
    }
