"""`tokenledger statusline`: one short line for a prompt or the status bar of a coding agent."""

from __future__ import annotations

import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.period import timezone_option
from tokenledger_exporter.cli.status_cache import (
    CachedStatus,
    cache_file,
    read_status,
    write_status,
)
from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from datetime import tzinfo

    from tokenledger_exporter.queries.report import ReportRow

_CENT: Final = Decimal("0.01")


@click.command("statusline", epilog="Example: tokenledger statusline --where user=user_123")
@where_option
@timezone_option
@click.option(
    "--max-age",
    "max_age_seconds",
    default=30.0,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Do not ask the database again within SECONDS.",
)
@database_option
@explained
def command(
    *,
    where: tuple[str, ...],
    timezone: str,
    max_age_seconds: float,
    database_url: str | None,
) -> None:
    """Print the cost of today and of this month as one short line, for a shell prompt.

    The last line is kept in the user's cache folder. If the database does not answer within two
    seconds, that line is printed again and says how old it is.
    """
    try:
        url = read_settings({"database_url": database_url}).database_url
    except SettingsError as error:
        raise InvalidRequestError(str(error)) from None
    if not url:
        raise InvalidRequestError("no database URL: set TOKENLEDGER_DATABASE_URL")
    filters = conditions(where)
    file = cache_file(url, filters, timezone)
    zone, now = _zone(timezone), time.time()
    day = f"{datetime.fromtimestamp(now, zone):%Y-%m-%d}"
    status = read_status(file)
    if status is None or status.day != day or not 0 <= now - status.tried_at < max_age_seconds:
        status = _updated(status, url, filters, timezone, (now, day))
        write_status(file, status)
    say(_line(status, day, zone))


def _updated(
    last: CachedStatus | None,
    url: str,
    where: dict[str, list[str]],
    zone_name: str,
    now: tuple[float, str],
) -> CachedStatus:
    """The status of now; the last one again if the database is away."""
    from tokenledger_exporter.queries.live.spend import read_spend

    moment, day = now
    try:
        spend = read_spend(url, zone_name, where)
    except DatabaseUnreachableError:
        if last is None:
            return CachedStatus("", "", day, 0.0, moment)
        return CachedStatus(last.today, last.month, last.day, last.read_at, moment)
    return CachedStatus(_amount(spend.today), _amount(spend.month), day, moment, moment)


def _line(status: CachedStatus, day: str, zone: tzinfo) -> str:
    if not status.today:
        return "LLM cost unknown: the database is away"
    line = f"LLM {status.today} today, {status.month} this month"
    if not status.is_stale:
        return line
    read_at = datetime.fromtimestamp(status.read_at, zone)
    shown = f"{read_at:%H:%M}" if status.day == day else f"{read_at:%Y-%m-%d %H:%M}"
    return f"{line} (stale, {shown})"


def _amount(row: ReportRow) -> str:
    """The cost in cents, with a mark if some calls have no known cost."""
    cost = row.known_cost_usd
    if cost is None:
        return "unknown"
    mark = "+" if row.coverage.without_cost else ""
    return f"<${_CENT}{mark}" if 0 < cost < _CENT else f"${cost:,.2f}{mark}"


def _zone(name: str) -> tzinfo:
    """The time zone, without the modules of the database where none is needed."""
    if name == "UTC":
        from datetime import timezone

        return timezone.utc
    from tokenledger_exporter.db.dimensions import zone_of

    return zone_of(name)
