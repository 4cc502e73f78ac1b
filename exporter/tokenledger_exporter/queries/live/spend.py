"""What calls cost today and this month, for a status line; gives up after a few seconds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_exporter.db.connection import reading, with_connect_timeout
from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.queries.report import ReportRow

_SQL: Final = statements("live")
_CONNECT_SECONDS: Final = 2
_CLOCKS_DIFFER: Final = timedelta(minutes=1)


class Spend(NamedTuple):
    """The calls since midnight, and since the first of the month."""

    today: ReportRow
    month: ReportRow


def read_spend(database_url: str, zone_name: str, where: Where) -> Spend:
    """Read what calls cost today and this month.

    Args:
        database_url: the ledger.
        zone_name: whose days and months.
        where: conditions on dimensions.

    Raises:
        LedgerError: the database does not answer in time, or reported an error.
    """
    now = datetime.now(timezone.utc)
    midnight = now.astimezone(zone_of(zone_name)).replace(hour=0, minute=0, second=0, microsecond=0)
    until = now + _CLOCKS_DIFFER
    url = with_connect_timeout(database_url, _CONNECT_SECONDS)
    with reading(url) as connection, connection.transaction():
        connection.execute(_SQL["limit_statement_time"])
        today, month = (
            run_steps(
                connection,
                report_steps(ReportRequest((), since, until, where=where, zone=zone_name)),
            )
            for since in (midnight, midnight.replace(day=1))
        )
    return Spend(today.totals, month.totals)
