"""`tokenledger spool`: what waits on this machine, and a way to write it now."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say


@click.group("spool")
def command() -> None:
    """Calls that wait on this machine for their ledger."""


@command.command()
@database_option
@explained
def drain(database_url: str | None) -> None:
    """Write what finished processes left; exit 1 if something is still waiting."""
    from tokenledger_exporter.db import migrations
    from tokenledger_exporter.errors import SchemaError
    from tokenledger_exporter.recorder.ledger import PostgresLedger
    from tokenledger_exporter.spool.access import folder_fault
    from tokenledger_exporter.spool.segment import SUFFIX
    from tokenledger_semconv.settings import read_settings

    with open_database(database_url) as url:
        if not (found := migrations.status(url)).is_current:
            raise SchemaError(found.sentence)
        ledger = PostgresLedger(read_settings({"database_url": url}))
        committed = ledger.flush(timeout=600.0)
        reason = ledger.health()["last_error"]
        ledger.shutdown(timeout=5.0)
    if fault := folder_fault(ledger.folder):
        fail(f"{ledger.folder} is left alone: {fault}", FINDINGS)
    left = len(list(ledger.folder.glob(f"*{SUFFIX}")))
    say(f"{committed} rows written, {left} segments of living processes left alone")
    if reason:
        fail(f"{reason}; what waits stays in {ledger.folder}", FINDINGS)
