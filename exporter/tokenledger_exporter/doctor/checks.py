"""Runs all checks, in the order a call travels.

Checks are functions that return `Check`s and do not raise. The last one sends a test span, waits
for its row and deletes the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import describe, session
from tokenledger_exporter.doctor.check import FAIL, OK, Check
from tokenledger_exporter.doctor.database import check_ledger
from tokenledger_exporter.doctor.environment import (
    check_celery,
    check_exporter,
    check_other_instrumentors,
    check_provider,
    check_sampler,
    check_sdks,
    check_spool,
)
from tokenledger_exporter.doctor.installation import check_installation
from tokenledger_exporter.doctor.probe import check_synthetic_span
from tokenledger_exporter.domain.progress import ignore_progress
from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.rollups.verify import days_of, rebuild, verify, weeks_of

if TYPE_CHECKING:
    from tokenledger_exporter.domain.progress import OnProgress

_MAX_NAMED: Final = 20


def examine(database_url: str) -> list[Check]:
    """Run every check, in the order a call travels."""
    checks = [check_installation(), *check_sdks(), *check_other_instrumentors(), *check_celery()]
    checks += [check_provider(), check_exporter(), check_sampler(), *check_spool(database_url)]
    try:
        with session(database_url) as connection:
            checks.append(Check("database", OK, f"connected to {describe(database_url)}"))
            checks += check_ledger(connection, database_url)
    except LedgerError as error:
        is_away = isinstance(error, DatabaseUnreachableError)
        remedy = "start Postgres or correct the URL" if is_away else ""
        checks.append(Check("database", FAIL, str(error), remedy))
        return checks
    if not any(check.state == FAIL for check in checks if check.name == "schema"):
        checks.append(check_synthetic_span(database_url))
    return checks


def compare_rollups(
    database_url: str, *, repair: bool = False, on_progress: OnProgress = ignore_progress
) -> list[Check]:
    """Compare every roll-up with its calls; with `repair`, rebuild the days that differ.

    Raises:
        LedgerError: any error of the database.
    """
    differences = verify(database_url, on_progress)
    if not differences:
        return [Check("roll-ups", OK, "all roll-ups match their calls")]
    remedy = (
        "run 'tokenledger doctor --verify-rollups --repair' as the tables' owner or with the "
        "keeper role"
    )
    if repair:
        rebuild(database_url, days_of(differences), weeks_of(differences))
        remedy = "rebuilt"
    checks = [
        Check("roll-ups", FAIL, difference.sentence, remedy)
        for difference in differences[:_MAX_NAMED]
    ]
    if more := len(differences) - len(checks):
        checks.append(Check("roll-ups", FAIL, f"and {more} more", remedy))
    return checks
