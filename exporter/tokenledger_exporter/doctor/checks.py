"""Checks that a call would reach the ledger, each with its remedy.

Checks are plain functions that return `Check`s; a check never raises. The last one sends a span of
its own all the way to a row and removes it again.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.db.connection import describe, session
from tokenledger_exporter.doctor.check import FAIL, OK, Check
from tokenledger_exporter.doctor.database import check_ledger
from tokenledger_exporter.doctor.environment import (
    check_celery,
    check_exporter,
    check_provider,
    check_rivals,
    check_sampler,
    check_sdks,
    check_spool,
)
from tokenledger_exporter.doctor.probe import check_synthetic_span
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.rollups.verify import days_of, rebuild, verify, weeks_of

_MAX_NAMED: Final = 20


def examine(database_url: str) -> list[Check]:
    """Every check, in the order a call travels."""
    checks = [*check_sdks(), *check_rivals(), *check_celery(), check_provider()]
    checks += [check_exporter(), check_sampler(), *check_spool(database_url)]
    try:
        with session(database_url) as connection:
            checks.append(Check("database", OK, f"connected to {describe(database_url)}"))
            checks += check_ledger(connection, database_url)
    except LedgerError as error:
        checks.append(Check("database", FAIL, str(error), "start Postgres or correct the URL"))
        return checks
    if not any(check.state == FAIL for check in checks if check.name == "schema"):
        checks.append(check_synthetic_span(database_url))
    return checks


def compare_rollups(database_url: str, *, repair: bool = False) -> list[Check]:
    """Every sum that is not what its calls are; built anew where that is asked for.

    Raises:
        LedgerError: whatever the database says.
    """
    found = verify(database_url)
    if not found:
        return [Check("roll-ups", OK, "every sum is that of its calls")]
    remedy = "run 'tokenledger doctor --verify-rollups --repair' as a user who may keep them"
    if repair:
        rebuild(database_url, days_of(found), weeks_of(found))
        remedy = "built anew"
    checks = [Check("roll-ups", FAIL, told.sentence, remedy) for told in found[:_MAX_NAMED]]
    if more := len(found) - len(checks):
        checks.append(Check("roll-ups", FAIL, f"and {more} more", remedy))
    return checks
