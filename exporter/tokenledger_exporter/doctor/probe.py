"""Sends one synthetic span, waits for its priced row, and deletes the row."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Final

from opentelemetry.trace import SpanKind

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_exporter.sql import statements
from tokenledger_semconv import attributes
from tokenledger_semconv.settings import Settings

_SQL: Final = statements("doctor")
_PROBE: Final = "synthetic span"
_PROBE_MODEL: Final = "gpt-4o"


def check_synthetic_span(database_url: str) -> Check:
    """Send a synthetic call through processor, spool, pricing and COMMIT, and delete its row."""
    name, remedy = _PROBE, "fix the failed checks above and run doctor again"
    try:
        if refused := _not_permitted(database_url):
            return refused
        with tempfile.TemporaryDirectory(prefix="tokenledger-doctor-") as folder:
            ledger = PostgresLedger(
                replace(Settings(), database_url=database_url, spool_dir=folder)
            )
            trace_id = _emit(ledger)
            ledger.flush(timeout=15.0)
            reason = ledger.health()["last_error"]
            ledger.shutdown(timeout=5.0)
        with session(database_url) as connection:
            row = connection.execute(_SQL["probe_row"], {"trace_id": trace_id}).fetchone()
            connection.execute(_SQL["remove_probe"], {"trace_id": trace_id})
    except LedgerError as error:
        return Check(name, FAIL, str(error), remedy)
    if row is None:
        return Check(name, FAIL, f"no row arrived ({reason})", remedy)
    if row[1] != "priced":
        return Check(name, FAIL, f"the row is {row[1]}", "run 'tokenledger db migrate'")
    return Check(name, OK, f"priced at ${plain_usd(row[0])}, stored and deleted")


def _not_permitted(database_url: str) -> Check | None:
    """The finding if the database user may not insert the row or may not delete it."""
    with session(database_url) as connection:
        may_insert, may_delete = connection.execute(_SQL["privileges"]).fetchone() or (True, True)
    if not may_insert:
        return Check(
            _PROBE,
            WARN,
            "not sent: this database user may not INSERT",
            "run doctor as the app's database user",
        )
    if not may_delete:
        # No warning: a writer should not have that privilege.
        return Check(
            _PROBE,
            OK,
            "not sent: this database user could not delete the test row; run doctor once as the "
            "tables' owner",
        )
    return None


def _emit(ledger: PostgresLedger) -> str:
    tracer = ledger.tracer_provider.get_tracer(f"{attributes.SCOPE_PREFIX}doctor")
    span_attributes: dict[str, str | int] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: _PROBE_MODEL,
        attributes.INPUT_TOKENS: 1,
        attributes.OUTPUT_TOKENS: 1,
    }
    span = tracer.start_span("chat doctor", kind=SpanKind.CLIENT, attributes=span_attributes)
    span.end()
    return f"{span.get_span_context().trace_id:032x}"
