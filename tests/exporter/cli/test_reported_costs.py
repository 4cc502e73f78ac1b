"""The cost that a provider reports: visible where it differs, billed where it is preferred."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from msgspec.structs import replace

from support.command_line import run
from support.ledger_rows import HEADER, ask, chat_attributes, package_book, record
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.store.batch import WriteResult
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

OURS = Decimal("0.0035")
"""1,000 gpt-4o input tokens at $2.50 and 100 output tokens at $10 per million."""

SOURCE = attributes.CONVENTIONS_COST


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def write(database_url: str, *calls: dict[str, AttributeValue], scope: str = "") -> list[LedgerRow]:
    """Store calls at the prices of the ledger, as an app does."""
    with closing(BatchWriter(database_url)) as writer:
        rows: list[LedgerRow] = []
        for call in calls:
            span = record(call)
            span = replace(span, scope=scope or span.scope)
            rows += build_rows(span, HEADER, writer.prices_of)
        assert writer.write(rows) == WriteResult(stored=len(rows))
    return rows


def reported(usd: str, **more: AttributeValue) -> dict[str, AttributeValue]:
    costs = {attributes.REPORTED_COST: usd, attributes.COST_SOURCE: SOURCE}
    return chat_attributes(**more) | costs


def output(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.output


def costs(database_url: str) -> list[tuple[Any, ...]]:
    question = "SELECT cost_usd, cost_status FROM token_ledger_events ORDER BY timestamp"
    return ask(database_url, question)


def test_a_report_says_how_many_costs_differ_and_a_view_names_them(ledger_url: str) -> None:
    (same, other, none) = write(
        ledger_url, reported("0.0035"), reported("0.0161"), chat_attributes()
    )
    assert "3 of 3 calls priced (100.0%), 1 differs from the reported cost" in output("report")
    question = (
        "SELECT event_id, cost_usd, reported_cost_usd, difference_usd, reported_cost_source "
        "FROM token_ledger_cost_differences"
    )
    difference = Decimal("0.0126")
    expected = (other.event_id, OURS, Decimal("0.0161"), difference, SOURCE)
    assert ask(ledger_url, question) == [expected]
    explained = output("explain", str(other.event_id))
    line = f"report  $0.0161 by the provider, {SOURCE} (differs from the cost: +$0.0126)"
    assert line in explained.splitlines()
    assert f"report  $0.0035 by the provider, {SOURCE}" in output("explain", str(same.event_id))
    assert "report " not in output("explain", str(none.event_id))


@dataclass(frozen=True)
class Rounding:
    reported_usd: str | None
    cost_usd: str | None
    differs: bool


@pytest.mark.parametrize(
    "case",
    [
        Rounding("0.0051", "0.00512", differs=False),
        Rounding("0.005", "0.00504", differs=False),  # Half a unit of four decimals.
        Rounding("0.005", "0.00512", differs=True),
        Rounding("0.0035", "0.0035", differs=False),
        Rounding("1.0099", "1", differs=False),  # Less than 1 %.
        Rounding("1.02", "1", differs=True),
        Rounding("0.0000176", "0.000088", differs=True),  # A small call, five times the price.
        Rounding("0.000018", "0.0000176", differs=False),  # Six decimals: 0.0000005.
        Rounding("0", "0.0035", differs=True),
        Rounding("0.0161", "0", differs=True),
        Rounding("0", "0", differs=False),
        Rounding(None, "0.0035", differs=False),
        Rounding("0.0035", None, differs=False),
    ],
    ids=str,
)
def test_costs_differ_by_more_than_rounding(database_url: str, case: Rounding) -> None:
    with psycopg.connect(database_url) as connection:
        answer = connection.execute(
            "SELECT token_ledger_cost_differs(%s::numeric, %s::numeric)",
            (case.reported_usd, case.cost_usd),
        ).fetchone()
    assert answer == (case.differs,)


def test_a_call_without_a_price_costs_what_the_provider_reports(ledger_url: str) -> None:
    (row,) = write(ledger_url, reported("0.25", gen_ai__request__model="acme-7b"))
    assert costs(ledger_url) == [(Decimal("0.25"), "reported")]
    report = output("report", "--by", "model")
    assert "0.250000" in report
    assert "coverage: 0 of 1 calls priced (0.0%), 1 reported" in report
    document = json.loads(output("report", "--format", "json"))
    assert document["coverage"]["reported"] == 1
    assert document["totals"]["cost_usd"] == "0.25"
    explained = output("explain", str(row.event_id))
    assert "cost    $0.25 (by the price list: no price)" in explained
    assert (
        "0 of 1 calls priced" in TokenLedgerQueries(ledger_url).get_cost_summary().coverage.sentence
    )
    assert ask(ledger_url, "SELECT cost_usd, reported FROM token_ledger_model_costs") == [
        (Decimal("0.25"), 1)
    ]


def test_a_reported_row_takes_a_price_that_is_set_later(ledger_url: str) -> None:
    write(ledger_url, reported("0.25", gen_ai__request__model="acme-7b"))
    output(
        "prices",
        "set",
        "openai",
        "acme-7b",
        "--input",
        "2.5",
        "--output",
        "10",
        "--from",
        "2020-01-01",
    )
    output("reprice", "--since", "7d")
    assert costs(ledger_url) == [(OURS, "priced")]


def test_a_preferred_provider_is_billed_as_it_reports(ledger_url: str) -> None:
    write(ledger_url, reported("0.0161"), chat_attributes())
    assert output("prices", "prefer-reported") == "no provider's reported cost is preferred\n"
    said = output("prices", "prefer-reported", "OpenAI")
    assert said.splitlines() == [
        "calls of openai now cost what openai reports",
        "recorded calls: tokenledger reprice --provider openai --since 30d",
    ]
    assert output("prices", "prefer-reported") == "openai\n"
    assert "already" in output("prices", "prefer-reported", "openai")
    (later,) = write(ledger_url, reported("0.02"))
    assert costs(ledger_url) == [
        (OURS, "priced"),
        (OURS, "priced"),
        (Decimal("0.02"), "reported"),
    ]
    listed = "cost    $0.02 (by the price list: $0.0035)"
    assert listed in output("explain", str(later.event_id))
    output("reprice", "--provider", "openai", "--since", "7d")
    assert costs(ledger_url) == [
        (Decimal("0.0161"), "reported"),
        (OURS, "priced"),
        (Decimal("0.02"), "reported"),
    ]
    assert "0 of 3 rows changed" in output("reprice", "--provider", "openai", "--since", "7d")
    output("prices", "prefer-reported", "openai", "--off")
    output("reprice", "--provider", "openai", "--since", "7d")
    assert costs(ledger_url) == [(OURS, "priced")] * 3
    actions = ask(ledger_url, "SELECT action, dimensions FROM token_ledger_audit_log ORDER BY 1")
    named = {"provider": "openai"}
    assert actions == [("prefer price list", named), ("prefer reported cost", named)]


@pytest.mark.usefixtures("ledger_url")
def test_an_unknown_provider_is_refused_with_the_names_that_are_close() -> None:
    result = run("prices", "prefer-reported", "opnai")
    assert result.exit_code != 0
    assert "unknown provider 'opnai'" in result.output
    assert "openai" in result.output
    result = run("prices", "prefer-reported", "--off")
    assert "--off needs a provider" in result.output


def test_another_models_price_is_never_the_reported_cost(ledger_url: str) -> None:
    """A what-if report asks what another model would cost; the provider did not report that."""
    write(ledger_url, reported("0.25", gen_ai__request__model="acme-7b"))
    report = json.loads(run("report", "--as-if", "openai/gpt-4o", "--format", "json").stdout)
    assert report["totals"]["cost_usd"] == "0.0035"


CONVENTIONS: dict[str, AttributeValue] = {
    attributes.CONVENTIONS_COST: 0.0161,
    attributes.CONVENTIONS_COST_CURRENCY: "USD",
    attributes.CONVENTIONS_COST_SOURCE: "provider",
}


@pytest.mark.parametrize(
    ("change", "usd"),
    [
        ({}, Decimal("0.0161")),
        ({attributes.CONVENTIONS_COST_CURRENCY: "usd"}, Decimal("0.0161")),
        ({attributes.CONVENTIONS_COST_CURRENCY: "EUR"}, None),
        ({attributes.CONVENTIONS_COST_CURRENCY: ""}, None),
        ({attributes.CONVENTIONS_COST_SOURCE: "local"}, None),
        ({attributes.CONVENTIONS_COST_SOURCE: ""}, None),
        ({attributes.CONVENTIONS_COST: -1}, None),
    ],
    ids=str,
)
def test_a_cost_of_the_conventions_counts_if_the_provider_reported_it_in_dollars(
    change: dict[str, AttributeValue], usd: Decimal | None
) -> None:
    span = replace(record(chat_attributes() | CONVENTIONS | change), scope="any.emitter")
    (row,) = build_rows(span, HEADER, package_book)
    assert (row.cost_usd, row.cost_status, row.reported_cost_usd) == (OURS, "priced", usd)
    if usd is not None:
        assert json.loads(row.details)[attributes.COST_SOURCE] == attributes.CONVENTIONS_COST


def test_the_cost_in_a_usage_object_that_an_emitter_hands_on_is_read() -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "cost": 0.0161}
    call = chat_attributes() | {
        attributes.PROVIDER_NAME: "openrouter",
        attributes.REQUEST_MODEL: "openai/gpt-4o",
        emitters.LOGFIRE_USAGE: json.dumps(usage),
    }
    span = replace(record(call), scope="opentelemetry.util.genai")
    (row,) = build_rows(span, HEADER, package_book)
    assert (row.cost_usd, row.reported_cost_usd) == (OURS, Decimal("0.0161"))
    assert json.loads(row.details)[attributes.COST_SOURCE] == "usage.cost"


def test_the_cost_of_a_call_of_several_rows_is_in_the_details_of_the_first() -> None:
    """A search is a row of its own; the reported cost is that of both rows."""
    further = [{"type": "web_search", "model": "gpt-4o", "input_tokens": 10, "output_tokens": 10}]
    call = reported("0.0161") | {attributes.FURTHER_USAGE: json.dumps(further)}
    rows = build_rows(record(call), HEADER, package_book)
    assert len(rows) == len(further) + 1
    assert [row.reported_cost_usd for row in rows] == [None, None]
    assert json.loads(rows[0].details)[attributes.REPORTED_COST] == "0.0161"


def test_the_days_before_and_after_a_preference_are_compared_as_of_a_time(ledger_url: str) -> None:
    write(ledger_url, reported("0.0161"))
    ((before,),) = ask(ledger_url, "SELECT clock_timestamp()")
    output("prices", "prefer-reported", "openai")
    output("reprice", "--provider", "openai", "--since", "7d")
    then = json.loads(output("report", "--as-of", before.isoformat(), "--format", "json"))
    now = json.loads(output("report", "--format", "json"))
    assert (then["totals"]["cost_usd"], then["coverage"]["cost_differs"]) == ("0.0035", 1)
    assert (now["totals"]["cost_usd"], now["coverage"]["cost_differs"]) == ("0.0161", 0)
    assert now["coverage"]["reported"] == 1
