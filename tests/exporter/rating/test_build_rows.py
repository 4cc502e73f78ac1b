"""From a span to a row: which spans count, what a row says of its cost, and its identity."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.ledger_rows import HEADER, build_row, chat_attributes, package_book, record, row
from tokenledger_exporter.domain.ledger_row import LedgerRow
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.pricing.charge import COST_COLUMNS
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from uuid import UUID

    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord


def test_a_plain_call_is_priced_part_by_part() -> None:
    made = row(
        chat_attributes(
            gen_ai__usage__cache_read__input_tokens=400,
            gen_ai__response__model="gpt-4o-2024-08-06",
        )
    )
    assert made.model == "gpt-4o-2024-08-06"
    assert made.request_model == "gpt-4o"
    assert (made.input_tokens, made.output_tokens, made.total_tokens) == (1_000, 100, 1_100)
    assert made.input_cost_usd == Decimal("2.5") * 600 / 1_000_000
    assert made.cached_cost_usd == Decimal("1.25") * 400 / 1_000_000
    assert made.output_cost_usd == Decimal(10) * 100 / 1_000_000
    assert made.cost_usd == Decimal("0.0015") + Decimal("0.0005") + Decimal("0.001")
    assert (made.cost_status, made.cost_note) == ("priced", "")


def test_counts_amounts_and_dimensions_fill_their_columns() -> None:
    """A row is put together by position; the columns say in which order."""
    columns = LedgerRow.__struct_fields__
    assert columns[(at := columns.index("input_tokens")) : at + len(TokenVector._fields)] == (
        TokenVector._fields
    )
    assert columns[(at := columns.index("cost_usd")) : at + len(COST_COLUMNS)] == COST_COLUMNS
    of_whom = tuple(dimension.column for dimension in DIMENSIONS if dimension.attribute)
    assert columns[-len(of_whom) :] == of_whom


@pytest.mark.parametrize(
    "operation", ["invoke_agent", "execute_tool", "create_agent", "retrieval", "invoke_workflow"]
)
def test_spans_that_only_repeat_usage_make_no_row(operation: str) -> None:
    repeated = replace(record(chat_attributes(gen_ai__operation__name=operation)), scope="strands")
    assert build_row(repeated, HEADER, package_book) is None


def test_a_call_tracked_by_hand_may_have_any_name() -> None:
    assert row(chat_attributes(gen_ai__operation__name="summarize")).operation == "summarize"


def test_a_span_of_the_oldest_conventions_is_priced_the_same() -> None:
    told: dict[str, AttributeValue] = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 1_000,
        "gen_ai.usage.completion_tokens": 100,
    }
    assert row(told).cost_usd == row().cost_usd


def test_cached_counts_that_exceed_input_are_added_to_it() -> None:
    """An emitter that leaves cached tokens out of input cannot make the cost negative."""
    told: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: "claude-sonnet-4-5",
        attributes.INPUT_TOKENS: 100,
        attributes.CACHE_READ_TOKENS: 600,
        attributes.CACHE_WRITE_TOKENS: 300,
        attributes.OUTPUT_TOKENS: 200,
    }
    made = build_row(replace(record(told), scope="openlit"), HEADER, package_book)
    assert made is not None
    assert made.input_tokens == 1_000
    expected = (
        Decimal(3) * 100 + Decimal("0.3") * 600 + Decimal("3.75") * 300 + Decimal(15) * 200
    ) / 1_000_000
    assert made.cost_usd == expected


def test_our_own_contradictory_counts_are_not_corrected() -> None:
    made = row(chat_attributes() | {attributes.CACHE_READ_TOKENS: 1_001})
    assert (made.cost_status, made.cost_usd) == ("unpriced", None)


def test_a_call_without_usage_is_unmeasured_and_never_zero() -> None:
    told = chat_attributes()
    del told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS]
    made = row(told)
    assert (made.cost_status, made.cost_usd, made.input_tokens) == ("unmeasured", None, None)
    assert made.cost_note == "the provider reported no usage"


def test_a_call_with_half_its_usage_is_partial() -> None:
    told = chat_attributes()
    del told[attributes.OUTPUT_TOKENS]
    made = row(told)
    assert (made.cost_status, made.cost_note) == ("partial", "output tokens were not reported")
    assert made.cost_usd == Decimal("2.5") * 1_000 / 1_000_000


def test_embeddings_have_no_output_and_are_whole() -> None:
    told: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "embeddings",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: "text-embedding-3-small",
        attributes.INPUT_TOKENS: 1_000,
    }
    made = row(told)
    assert (made.cost_status, made.cost_usd) == ("priced", Decimal("0.02") * 1_000 / 1_000_000)


def test_a_model_without_a_price_is_unpriced_with_its_reason() -> None:
    made = row(chat_attributes(gen_ai__request__model="acme-support-7b"))
    assert (made.cost_status, made.cost_usd) == ("unpriced", None)
    assert made.cost_note == "no price for acme-support-7b at openai"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_a_call_the_provider_refused_costs_nothing(status: int) -> None:
    told = chat_attributes(error__type="APIStatusError", http__response__status_code=status)
    del told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS]
    made = row(told, failed=True)
    assert (made.cost_usd, made.cost_status, made.status) == (Decimal(0), "priced", "error")


def test_a_call_that_found_no_connection_costs_nothing() -> None:
    told = chat_attributes(error__type="APIConnectionError")
    told[attributes.NOT_SENT] = True
    del told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS]
    made = row(told, failed=True)
    assert (made.cost_usd, made.cost_status, made.status) == (Decimal(0), "priced", "error")
    assert made.cost_note == "no connection; nothing was sent"


@pytest.mark.parametrize("status", [408, 500, 503, None])
def test_a_call_that_failed_after_it_was_sent_is_unmeasured(status: int | None) -> None:
    told = chat_attributes(error__type="APITimeoutError")
    if status:
        told[attributes.HTTP_STATUS_CODE] = status
    del told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS]
    made = row(told, failed=True)
    assert (made.cost_usd, made.cost_status) == (None, "unmeasured")


def test_counts_that_contradict_each_other_are_not_priced() -> None:
    made = row(chat_attributes(gen_ai__usage__reasoning__output_tokens=101))
    assert made.cost_status == "unpriced"
    assert made.cost_note == "reasoning (101) exceed output (100)"


@pytest.mark.parametrize(
    ("told", "ours"),
    [("azure.ai.openai", "azure"), ("aws.bedrock", "aws"), ("x_ai", "x-ai"), ("OpenAI", "openai")],
)
def test_a_provider_has_one_name(told: str, ours: str) -> None:
    assert row(chat_attributes(gen_ai__provider__name=told)).provider == ours


def test_a_missing_provider_is_found_from_the_model() -> None:
    told = chat_attributes(gen_ai__request__model="claude-haiku-4-5")
    del told[attributes.PROVIDER_NAME]
    assert row(told).provider == "anthropic"


def test_the_calls_own_attribution_wins_over_the_apps_defaults() -> None:
    header = SpoolHeader(
        format_version=1,
        ledger="x",
        app_name="shop",
        environment="production",
        defaults={"tokenledger.team": "platform", "tokenledger.feature": "default"},
    )
    told = chat_attributes(tokenledger__feature="summarize", user__id="u1")
    told["tokenledger.metadata.tier"] = "gold"
    built = build_row(record(told, resource={"service.name": "other"}), header, package_book)
    assert built is not None
    assert (built.feature, built.team, built.user_id) == ("summarize", "platform", "u1")
    assert (built.app_name, built.environment) == ("shop", "production")
    assert json.loads(built.metadata) == {"tier": "gold"}


def test_a_resend_is_the_same_row_and_other_usage_is_another_hash() -> None:
    span = record()
    first, again = (build_row(span, HEADER, package_book) for _ in range(2))
    changed_span = replace_attributes(span, {**span.attributes, attributes.OUTPUT_TOKENS: 101})
    changed = build_row(changed_span, HEADER, package_book)
    assert first == again
    assert first is not None
    assert changed is not None
    assert first.event_id == changed.event_id
    assert first.usage_hash != changed.usage_hash


def test_the_same_call_id_in_two_organizations_is_two_rows() -> None:
    span = record(start_ns=1_763_800_000_000_000_000)
    told = {**span.attributes, attributes.CALL_ID: "batch-1:row-7"}
    ids: set[UUID] = set()
    for organization in ("a", "b", "b"):
        of_one = replace_attributes(span, {**told, attributes.ORGANIZATION_ID: organization})
        built = build_row(of_one, HEADER, package_book)
        assert built is not None
        ids.add(built.event_id)
    assert len(ids) == 2


def test_ids_arrive_in_time_order_and_are_version_8() -> None:
    starts = [1_763_800_000_000_000_000 + second * 1_000_000_000 for second in range(50)]
    built = [build_row(record(start_ns=start), HEADER, package_book) for start in starts]
    ids = [one.event_id for one in built if one]
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(8, "specified in RFC 4122")}


def test_microseconds_are_exact() -> None:
    """Through a float, half of all nanosecond times would move by a microsecond."""
    built = build_row(record(start_ns=1_763_800_000_123_456_789), HEADER, package_book)
    assert built is not None
    assert built.timestamp.microsecond == 123_456


@given(text=st.text())
def test_any_text_becomes_a_row_postgres_can_hold(text: str) -> None:
    told = chat_attributes(user__id=text, tokenledger__metadata__k=text)
    told[attributes.PROVIDER_USAGE] = json.dumps({"note": text})
    made = row(told)
    assert "\x00" not in made.user_id
    assert "\\u0000" not in made.metadata + (made.usage or "")
    json.loads(made.metadata)


@pytest.mark.parametrize(
    "usage",
    ['{"a":', "[1]", '{"a": NaN}', '{"a": "\\ud800"}', '{"a":' + "[" * 5_000, '{"a": 1e400000}'],
    ids=["cut", "a list", "NaN", "lone surrogate", "deep", "huge"],
)
def test_usage_jsonb_cannot_hold_is_left_out_and_the_call_is_priced(usage: str) -> None:
    made = row(chat_attributes(tokenledger__usage=usage))
    assert (made.usage, made.cost_status) == (None, "priced")


def replace_attributes(span: SpanRecord, told: dict[str, AttributeValue]) -> SpanRecord:
    return replace(span, attributes=told)
