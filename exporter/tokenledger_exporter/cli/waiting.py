"""Mention the calls that wait in this machine's spool, which no answer contains yet."""

from __future__ import annotations

from tokenledger_exporter.cli.exit_codes import warn


def warn_of_waiting_calls(database_url: str) -> None:
    """Say how many calls of finished processes wait, and what writes them."""
    from tokenledger_exporter.db.connection import fingerprint
    from tokenledger_exporter.spool.permissions import spool_folder
    from tokenledger_exporter.spool.waiting import waiting_calls
    from tokenledger_semconv.settings import read_settings

    folder = spool_folder(read_settings().spool_dir, fingerprint(database_url))
    if calls := waiting_calls(folder):
        subject = "1 call waits" if calls == 1 else f"{calls:,} calls wait"
        them = "it" if calls == 1 else "them"
        warn(
            f"{subject} in this machine's spool and cannot be seen here yet; "
            f"'tokenledger spool drain' writes {them} to the ledger"
        )
