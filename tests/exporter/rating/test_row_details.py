"""What a row has in addition to its cost: estimates, a reported cost, and the settings."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.ledger_rows import HEADER, ask, build_row, chat_attributes, package_book, record, row
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.queries.report import ReportRequest, build_report
from tokenledger_exporter.store.batch import WriteResult
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

REPORTED = attributes.REPORTED_COST
ESTIMATED = "output tokens were estimated; the provider reported no count"


def test_an_estimated_output_is_priced_and_says_so() -> None:
    made = row(chat_attributes(tokenledger__usage__estimated=True))
    assert (made.cost_status, made.cost_note) == ("estimated", ESTIMATED)
    assert made.cost_usd == row().cost_usd


def test_an_estimate_with_a_part_missing_says_both() -> None:
    told = chat_attributes(tokenledger__usage__estimated=True)
    del told[attributes.INPUT_TOKENS]
    made = row(told)
    assert made.cost_status == "estimated"
    assert made.cost_note == f"{ESTIMATED}; input tokens were not reported"


@pytest.mark.parametrize("flag", [False, "true", 1])
def test_only_a_plain_true_is_an_estimate(flag: AttributeValue) -> None:
    assert row(chat_attributes(tokenledger__usage__estimated=flag)).cost_status == "priced"


def test_an_estimate_of_an_unknown_model_stays_unpriced() -> None:
    told = chat_attributes(tokenledger__usage__estimated=True, gen_ai__request__model="acme-7b")
    assert (row(told).cost_status, row(told).cost_usd) == ("unpriced", None)


def test_estimates_are_included_in_sums_and_listed_separately(database_url: str) -> None:
    rows = [row(), row(chat_attributes(tokenledger__usage__estimated=True))]
    _write(database_url, rows)
    now = datetime.now(timezone.utc)
    with psycopg.connect(database_url) as connection:
        report = build_report(
            connection, ReportRequest([], now - timedelta(days=1), now + timedelta(days=1))
        )
    assert report.totals.cost_usd == 2 * Decimal("0.0035")
    assert (report.coverage.priced, report.coverage.estimated) == (1, 1)
    assert report.coverage.sentence == "coverage: 1 of 2 calls priced (50.0%), 1 estimated"
    view = "SELECT calls, priced, estimated, unpriced, unmeasured FROM token_ledger_coverage"
    assert ask(database_url, view) == [(2, 1, 1, 0, 0)]
    assert TokenLedgerQueries(database_url).get_cost_summary(1).total_cost == Decimal("0.0070")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("0.00014", Decimal("0.00014")),
        (0.1, Decimal("0.1")),
        (3, Decimal(3)),
        (0, Decimal(0)),
        ("0E-400", Decimal(0)),
        ("12.5", Decimal("12.5")),
        ("999999.99", Decimal("999999.99")),
    ],
)
def test_a_reported_cost_is_kept_as_it_is_written(told: AttributeValue, kept: Decimal) -> None:
    made = row(chat_attributes() | {REPORTED: told})
    assert made.reported_cost_usd == kept
    assert made.cost_usd == Decimal("0.0035")


@pytest.mark.parametrize(
    "told",
    [
        "NaN",
        "Infinity",
        "-1",
        -0.5,
        math.nan,
        math.inf,
        "1e400000",
        "1e6",
        "1e-99",
        "much",
        "",
        True,
    ],
    ids=str,
)
def test_an_invalid_reported_cost_is_dropped_and_the_row_is_kept(
    database_url: str, told: AttributeValue
) -> None:
    made = row(chat_attributes() | {REPORTED: told})
    assert (made.reported_cost_usd, made.cost_status) == (None, "priced")
    assert _write(database_url, [made]) == WriteResult(stored=1)


def test_a_reported_cost_fills_a_row_without_a_price_with_a_status_of_its_own(
    database_url: str,
) -> None:
    acme = chat_attributes(gen_ai__request__model="acme-7b") | {REPORTED: "0.25"}
    _write(database_url, [row(acme)])
    question = (
        "SELECT cost_usd, cost_status, reported_cost_usd, input_cost_usd, price_id, cost_note "
        "FROM token_ledger_events"
    )
    note = "the cost is the one that the provider reports; no price for acme-7b at openai"
    expected = (Decimal("0.25"), "reported", Decimal("0.25"), None, "reported", note)
    assert ask(database_url, question) == [expected]


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-0.01"])
def test_the_table_rejects_an_invalid_reported_cost(database_url: str, cost: str) -> None:
    lies = replace(row(), event_id=uuid4(), reported_cost_usd=Decimal(cost))
    assert _write(database_url, [lies, row()]) == WriteResult(stored=1, rejected=1)


@pytest.mark.parametrize(
    "column",
    ["cached_audio_tokens", "cached_image_tokens", "audio_seconds", "input_characters", "images"],
)
def test_the_table_refuses_a_negative_count(database_url: str, column: str) -> None:
    with (
        psycopg.connect(database_url) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="lengths_are_not_negative"),
    ):
        connection.execute(
            f"INSERT INTO token_ledger_events (provider, model, {column}) "
            "VALUES ('openai', 'gpt-4o', -1)".encode()
        )


SETTINGS: dict[str, AttributeValue] = {
    attributes.REQUEST_STREAM: True,
    attributes.REQUEST_MAX_TOKENS: 1_024,
    attributes.REQUEST_TEMPERATURE: 0.7,
    attributes.REQUEST_TOP_P: 0.9,
    attributes.REQUEST_TOP_K: 40,
    attributes.REQUEST_FREQUENCY_PENALTY: 0.1,
    attributes.REQUEST_PRESENCE_PENALTY: 0.2,
    attributes.REQUEST_SEED: 7,
    attributes.REQUEST_CHOICE_COUNT: 2,
    attributes.REQUEST_REASONING_LEVEL: "high",
    attributes.REQUEST_DIMENSIONS: 256,
    attributes.REQUEST_ENCODING_FORMATS: ["float"],
    attributes.REQUEST_PREVIOUS_RESPONSE_ID: "resp_0",
    attributes.OUTPUT_TYPE: "json",
    attributes.FINISH_REASONS: ["stop", "length"],
    attributes.OPENAI_API_TYPE: "chat_completions",
    attributes.OPENAI_SYSTEM_FINGERPRINT: "fp_1",
    attributes.OPENAI_REQUEST_SERVICE_TIER: "auto",
    attributes.ANTHROPIC_REQUEST_SERVICE_TIER: "standard_only",
    attributes.SDK_VERSION: "openai 3.54.0",
}


def test_every_setting_reaches_the_row_under_its_attribute(database_url: str) -> None:
    _write(database_url, [row(chat_attributes() | SETTINGS)])
    assert ask(database_url, "SELECT details FROM token_ledger_events") == [(SETTINGS,)]


def test_every_request_setting_of_the_contract_is_a_detail() -> None:
    told = {
        value
        for name, value in vars(attributes).items()
        if name.startswith("REQUEST_") and name != "REQUEST_MODEL"
    }
    assert told <= set(SETTINGS)


def test_a_call_without_settings_has_empty_details() -> None:
    assert json.loads(row().details) == {}


@given(text=st.text(), number=st.floats())
def test_details_are_always_json_postgres_can_hold(text: str, number: float) -> None:
    told: dict[str, AttributeValue] = {
        attributes.REQUEST_TEMPERATURE: number,
        attributes.FINISH_REASONS: [text],
    }
    made = row(chat_attributes() | told)
    details = json.loads(made.details, parse_constant=pytest.fail)
    assert (attributes.REQUEST_TEMPERATURE in details) == math.isfinite(number)
    assert "\\u0000" not in made.details


def test_new_columns_leave_the_hash_of_a_plain_row_alone() -> None:
    """A row that an earlier build wrote is still known when its span is sent again."""
    built = build_row(record(), HEADER, package_book)
    assert built is not None
    assert built.usage_hash.hex() == "2381c735d032eb5000a5c47dbeb7656e"


@pytest.mark.parametrize(
    "more",
    [
        {attributes.AUDIO_SECONDS: 1},
        {attributes.INPUT_CHARACTERS: 1},
        {attributes.IMAGES: 1},
        {attributes.ANTHROPIC_INFERENCE_GEO: "us"},
        {attributes.CACHED_AUDIO_TOKENS: 0},
        {attributes.CACHED_IMAGE_TOKENS: 0},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_decides_the_bill_is_part_of_the_hash(more: dict[str, AttributeValue]) -> None:
    assert row(chat_attributes() | more).usage_hash != row().usage_hash


def test_what_does_not_decide_the_bill_is_no_part_of_the_hash() -> None:
    more = {REPORTED: "1", **SETTINGS}
    assert row(chat_attributes() | more).usage_hash == row().usage_hash


def test_every_new_column_survives_the_binary_copy(database_url: str) -> None:
    made = replace(
        row(),
        cached_audio_tokens=1,
        cached_image_tokens=2,
        audio_seconds=3,
        input_characters=4,
        images=5,
        reported_cost_usd=Decimal("0.000001"),
        inference_geo="us",
        details='{"k": [1]}',
    )
    _write(database_url, [made])
    columns = "cached_audio_tokens, cached_image_tokens, audio_seconds, input_characters, images"
    found = ask(
        database_url,
        f"SELECT {columns}, reported_cost_usd, inference_geo, details FROM token_ledger_events",
    )
    assert found == [(1, 2, 3, 4, 5, Decimal("0.000001"), "us", {"k": [1]})]


def test_a_conflict_keeps_the_new_columns_too(database_url: str) -> None:
    first = row()
    other = replace(first, usage_hash=b"other", audio_seconds=9, reported_cost_usd=Decimal("0.5"))
    assert _write(database_url, [first, other]) == WriteResult(stored=1, conflicting=1)
    kept = ask(
        database_url,
        "SELECT event ->> 'audio_seconds', event ->> 'reported_cost_usd' "
        "FROM token_ledger_conflicts",
    )
    assert kept == [("9", "0.5")]


def _write(database_url: str, rows: list[LedgerRow]) -> WriteResult:
    writer = BatchWriter(database_url)
    written = writer.write(rows)
    writer.close()
    return written
