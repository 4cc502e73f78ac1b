"""What no call can be: counts, times and names that are absurd end at the reader, and say so."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, chat_attributes, package_book, record
from tokenledger_exporter.dialects.bounds import bounded_id
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import MAX_COUNT, TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

DAY_NS = 86_400 * 10**9


def rows(
    told: dict[str, AttributeValue], scope: str = "tokenledger.openai", took_ns: int = 10**9
) -> list[LedgerRow]:
    """The rows of a span."""
    span = record(told)
    span = replace(span, scope=scope, end_ns=span.start_ns + took_ns)
    return build_rows(span, HEADER, package_book)


def row(told: dict[str, AttributeValue], took_ns: int = 10**9) -> LedgerRow:
    """The row of a span that has one."""
    [made] = rows(told, took_ns=took_ns)
    return made


def test_a_count_that_one_call_can_have_is_priced_and_one_more_is_not() -> None:
    most = row(chat_attributes() | {attributes.INPUT_TOKENS: MAX_COUNT})
    assert (most.cost_status, most.input_tokens) == ("priced", 1_000_000_000)
    over = row(chat_attributes() | {attributes.INPUT_TOKENS: MAX_COUNT + 1})
    assert (over.cost_status, over.cost_usd) == ("unpriced", None)
    assert over.cost_note == ("input_tokens is more than 1,000,000,000, which no call uses")


@pytest.mark.parametrize("count", [2**40, 2**63 - 1, 2**63, 2**64 - 1, 1e300], ids=str)
@pytest.mark.parametrize(
    "attribute",
    [
        attributes.INPUT_TOKENS,
        attributes.OUTPUT_TOKENS,
        attributes.CACHE_READ_TOKENS,
        attributes.REASONING_TOKENS,
        attributes.WEB_SEARCH_REQUESTS,
        attributes.IMAGES,
        attributes.AUDIO_SECONDS,
    ],
)
def test_an_implausible_count_leaves_no_count_and_no_cost(attribute: str, count: float) -> None:
    made = row(chat_attributes() | {attribute: count})
    counts = [getattr(made, name) for name in TokenVector._fields]
    assert (made.cost_status, made.total_tokens, set(counts)) == ("unpriced", None, {None})


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 86_401.0, 1e308])
def test_an_invalid_time_to_first_chunk_is_left_out(seconds: float) -> None:
    assert (
        row(chat_attributes() | {attributes.TIME_TO_FIRST_CHUNK: seconds}).time_to_first_token_ms
        is None
    )


@pytest.mark.parametrize("took_ns", [-1, -DAY_NS, DAY_NS + 1, 2**62], ids=str)
def test_an_invalid_duration_is_left_out(took_ns: int) -> None:
    made = row(chat_attributes(), took_ns=took_ns)
    assert made.duration_ms is None
    assert 0 <= (made.ended_at - made.timestamp).total_seconds() <= 86_400
    assert row(chat_attributes(), took_ns=DAY_NS).duration_ms == 86_400_000.0


@pytest.mark.parametrize(
    ("attribute", "column", "letters"),
    [
        (attributes.REQUEST_MODEL, "request_model", 255),
        (attributes.RESPONSE_MODEL, "model", 255),
        (attributes.PROVIDER_NAME, "provider", 64),
        (attributes.RESPONSE_ID, "response_id", 255),
        (attributes.OPENAI_SERVICE_TIER, "service_tier", 64),
        (attributes.OPENAI_REGION, "inference_geo", 64),
        (attributes.OPERATION_NAME, "operation", 64),
        (attributes.ERROR_TYPE, "error_type", 255),
        (attributes.USER_ID, "user_id", 255),
    ],
)
def test_a_name_is_no_longer_than_a_key_of_the_ledger_takes(
    attribute: str, column: str, letters: int
) -> None:
    made = row(chat_attributes() | {attribute: "\N{GRINNING FACE}" * 4_000})
    assert len(getattr(made, column)) == letters


def test_two_long_response_ids_stay_two() -> None:
    one, other = bounded_id("x" * 3_000 + "1"), bounded_id("x" * 3_000 + "2")
    assert one != other
    assert len(one) == len(other) == 255
    assert bounded_id("chatcmpl-1") == "chatcmpl-1"


def test_a_call_has_a_few_further_rows_and_says_what_is_not_among_them() -> None:
    entry = {"type": "image_generation", "model": "gpt-image-1", "input_tokens": 5}
    further = json.dumps([entry] * 20_000)
    made = rows(chat_attributes() | {attributes.FURTHER_USAGE: further})
    assert len(made) == 33
    assert (made[0].cost_status, made[0].cost_note) == (
        "partial",
        "unknown: usage of 19968 more models",
    )


def test_empty_entries_of_further_models_make_no_rows() -> None:
    assert len(rows(chat_attributes() | {attributes.FURTHER_USAGE: json.dumps([{}] * 20_000)})) == 1


def test_what_further_models_used_is_taken_from_our_own_scope_alone() -> None:
    further = json.dumps([{"type": "svg", "model": "gpt-4o", "input_tokens": 5}])
    told = chat_attributes() | {attributes.FURTHER_USAGE: further}
    assert len(rows(told)) == 2
    assert len(rows(told, scope="opentelemetry.instrumentation.openai_v2")) == 1


def test_a_quarantined_row_is_valid_jsonb() -> None:
    made = row(chat_attributes())
    broken = replace(made, duration_ms=math.nan, time_to_first_token_ms=math.inf)
    told = json.loads(broken.as_json())
    assert (told["duration_ms"], told["time_to_first_token_ms"]) == (None, None)
