"""Sends one synthetic span all the way to a priced row, and removes the row."""

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
    """A made-up call through processor, spool, price book and COMMIT; its row is removed."""
    name, remedy = _PROBE, "see the failed checks above; then run doctor again"
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
            found = connection.execute(_SQL["probe_row"], {"trace_id": trace_id}).fetchone()
            connection.execute(_SQL["remove_probe"], {"trace_id": trace_id})
    except LedgerError as error:
        return Check(name, FAIL, str(error), remedy)
    if found is None:
        return Check(name, FAIL, f"no row arrived ({reason})", remedy)
    if found[1] != "priced":
        return Check(name, FAIL, f"the row is {found[1]}", "run 'tokenledger db migrate'")
    return Check(name, OK, f"priced at ${plain_usd(found[0])}, stored, and removed")


def _not_permitted(database_url: str) -> Check | None:
    """The finding if this user cannot write the span, or could not take it away again."""
    with session(database_url) as connection:
        may_insert, may_delete = connection.execute(_SQL["privileges"]).fetchone() or (True, True)
    if not may_insert:
        return Check(
            _PROBE,
            WARN,
            "not sent: this database user may only read",
            "use the writer's database user",
        )
    if not may_delete:
        return Check(
            _PROBE,
            WARN,
            "not sent: this database user may not remove its row afterwards",
            "run doctor once as a user who may DELETE from token_ledger_events; to write, the app "
            "needs no such right",
        )
    return None


def _emit(ledger: PostgresLedger) -> str:
    tracer = ledger.tracer_provider.get_tracer(f"{attributes.SCOPE_PREFIX}doctor")
    told: dict[str, str | int] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: _PROBE_MODEL,
        attributes.INPUT_TOKENS: 1,
        attributes.OUTPUT_TOKENS: 1,
    }
    span = tracer.start_span("chat doctor", kind=SpanKind.CLIENT, attributes=told)
    span.end()
    return f"{span.get_span_context().trace_id:032x}"
