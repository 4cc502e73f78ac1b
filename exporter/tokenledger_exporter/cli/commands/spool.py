"""`tokenledger spool`: write the calls that are spooled on this machine."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say
from tokenledger_exporter.plain_text import counted


@click.group("spool", epilog="Example: tokenledger spool drain")
def command() -> None:
    """Manage the spool: calls on this machine that are not in the ledger yet."""


@command.command(epilog="Example: tokenledger spool drain")
@database_option
@explained
def drain(database_url: str | None) -> None:
    """Write the spooled calls of finished processes; exit 1 if some could not be written."""
    from tokenledger_exporter.db import migrations
    from tokenledger_exporter.errors import SchemaError
    from tokenledger_exporter.recorder.ledger import PostgresLedger
    from tokenledger_exporter.spool.permissions import folder_fault
    from tokenledger_exporter.spool.segment import SUFFIX
    from tokenledger_semconv.settings import read_settings

    with open_database(database_url) as url:
        if not (schema := migrations.status(url)).is_current:
            raise SchemaError(schema.sentence)
        ledger = PostgresLedger(read_settings({"database_url": url}))
        committed = ledger.flush(timeout=600.0)
        reason = ledger.health()["last_error"]
        ledger.shutdown(timeout=5.0)
    if fault := folder_fault(ledger.folder):
        fail(f"cannot use {ledger.folder}: {fault}", FINDINGS)
    remaining = len(list(ledger.folder.glob(f"*{SUFFIX}")))
    skipped = counted(remaining, "file of a running process", "files of running processes")
    say(f"{counted(committed, 'call')} written, {skipped} not touched")
    if reason:
        fail(f"{reason}; unwritten calls stay in {ledger.folder}", FINDINGS)
