"""OTEL_RESOURCE_ATTRIBUTES and the spans above a call say who pays, in the app's own process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_span_in_context

from support.ledger_rows import ask, chat_attributes
from tokenledger_exporter import LedgerSpanExporter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

RESOURCE = "team=ml,cost_center=cc-1,user.id=batch,tokenledger.feature=nightly,department=research"

APP = """
import sys
import tokenledger
from tokenledger import attribution, track_cost

if sys.argv[1] == "sdk":
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
tokenledger.configure(default_metadata={"cost_center": "default"})
track_cost(1_000, 100, "gpt-4o")
with attribution(user_id="ada", team="own"):
    track_cost(1_000, 100, "gpt-4o")
tokenledger.shutdown()
"""


@pytest.mark.parametrize("provider", ["sdk", "none"])
def test_resource_attributes_are_below_attribution_and_the_apps_defaults(
    database_url: str, tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", RESOURCE)
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    app = tmp_path / "app.py"
    app.write_text(APP)
    subprocess.run([sys.executable, str(app), provider], check=True)
    columns = "user_id, team, cost_center, feature, metadata"
    rows = ask(database_url, f"SELECT {columns} FROM token_ledger_events ORDER BY timestamp")
    rest = ("default", "nightly", {"department": "research", "cost_center": "default"})
    assert rows == [("batch", "ml", *rest), ("ada", "own", *rest)]


def test_the_exporter_reads_the_resource_and_the_spans_above_a_call(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", RESOURCE)
    exporter = LedgerSpanExporter(database_url=database_url)
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    tracer = provider.get_tracer("my.app")
    sent: dict[str, Any] = dict(chat_attributes())
    request = tracer.start_span("POST /ask", attributes={"enduser.id": "ada"})
    above = set_span_in_context(request)
    tracer.start_span("chat", context=above, attributes=sent).end()
    tracer.start_span("chat", context=above, attributes={**sent, "user.id": "own"}).end()
    request.end()
    tracer.start_span("chat", attributes=sent).end()
    provider.force_flush()
    provider.shutdown()
    query = "SELECT user_id, team FROM token_ledger_events ORDER BY timestamp"
    assert ask(database_url, query) == [("ada", "ml"), ("own", "ml"), ("batch", "ml")]


def test_with_baggage_the_resource_is_the_last_word(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trusted baggage of a caller is on the span, and so above the resource."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", RESOURCE)
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", "team")
    app = tmp_path / "app.py"
    app.write_text(
        "import tokenledger\n"
        "from opentelemetry import context, propagate\n"
        "tokenledger.configure()\n"
        "caller = {'baggage': 'tokenledger.team=caller,user.id=untrusted'}\n"
        "context.attach(propagate.extract(caller))\n"
        "tokenledger.track_cost(1_000, 100, 'gpt-4o')\n"
        "tokenledger.shutdown()\n"
    )
    subprocess.run([sys.executable, str(app)], check=True)
    query = "SELECT team, user_id FROM token_ledger_events"
    assert ask(database_url, query) == [("caller", "batch")]
