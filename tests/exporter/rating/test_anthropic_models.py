"""What one answer of Anthropic bills at several models' rates, or counts and does not bill."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from support.ledger_rows import HEADER, ask, package_book, record
from support.ledgers import opened
from tokenledger_exporter.dialects.attribute_filter import MAX_TEXT
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.rating.live_price import price_of
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.server.decoding.otlp_protobuf import decode_traces
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

_SINCE = int(datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp()) * 1_000_000_000
_BEFORE = int(datetime(2026, 9, 23, tzinfo=timezone.utc).timestamp()) * 1_000_000_000
PER_MILLION = Decimal(1_000_000)


def entry(kind: str, model: str, counted: int, written: int, **more: int) -> dict[str, Any]:
    return {
        "type": kind,
        "model": model,
        "input_tokens": counted,
        "output_tokens": written,
        "cache_read_input_tokens": more.get("read", 0),
        "cache_creation_input_tokens": more.get("wrote", 0),
    }


def attributes_of_call(
    model: str,
    counted: int,
    written: int,
    *iterations: dict[str, Any],
    refusals: tuple[str, ...] = (),
    stop: str = "end_turn",
    **more: AttributeValue,
) -> dict[str, AttributeValue]:
    """A call as our instrumentor reports it."""
    usage = {"input_tokens": counted, "output_tokens": written, "iterations": list(iterations)}
    found: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: model,
        attributes.RESPONSE_MODEL: model,
        attributes.RESPONSE_ID: "msg_0123456789abcdefghij",
        attributes.INPUT_TOKENS: counted,
        attributes.OUTPUT_TOKENS: written,
        attributes.FINISH_REASONS: [stop],
        attributes.USER_ID: "ada",
        attributes.PROVIDER_USAGE: json.dumps(usage),
        **more,
    }
    if refusals:
        found[attributes.ANTHROPIC_REFUSALS] = list(refusals)
    return found


def rows(found: dict[str, AttributeValue], start_ns: int = _SINCE) -> list[LedgerRow]:
    return build_rows(record(found, start_ns=start_ns), HEADER, package_book)


def costs(found: dict[str, AttributeValue], start_ns: int = _SINCE) -> list[Any]:
    return [(row.model, row.cost_usd, row.cost_status) for row in rows(found, start_ns)]


ADVISED = attributes_of_call(
    "claude-sonnet-4-6",
    1_760,
    531,
    entry("message", "claude-sonnet-4-6", 412, 89),
    entry("advisor_message", "claude-opus-5", 823, 1_612, read=100),
    entry("message", "claude-sonnet-4-6", 1_348, 442),
)
"""A model that asked an advisor: the counts above are the one model's, over both of its turns."""

_EXECUTOR = (1_760 * Decimal(3) + 531 * Decimal(15)) / PER_MILLION
_ADVISOR = (823 * Decimal(5) + 100 * Decimal("0.5") + 1_612 * Decimal(25)) / PER_MILLION


def test_an_advisor_is_billed_at_its_own_rates_in_a_row_of_its_own() -> None:
    call, advisor = rows(ADVISED)
    assert (call.model, call.cost_usd) == ("claude-sonnet-4-6", _EXECUTOR)
    assert (advisor.model, advisor.cost_usd) == ("claude-opus-5", _ADVISOR)
    assert (advisor.input_tokens, advisor.cached_tokens, advisor.output_tokens) == (923, 100, 1_612)
    assert (advisor.trace_id, advisor.span_id) == (call.trace_id, call.span_id)
    assert (advisor.user_id, advisor.timestamp) == ("ada", call.timestamp)
    # How long it took is not reported, and the answer's id is the call's.
    assert (advisor.duration_ms, advisor.response_id) == (None, "")
    assert json.loads(advisor.details) == {attributes.USAGE_PART: "advisor_message"}
    assert json.loads(advisor.usage or "")["output_tokens"] == 1_612


def test_a_resend_of_such_a_call_is_the_same_rows() -> None:
    span = record(ADVISED)
    once, again = (build_rows(span, HEADER, package_book) for _ in range(2))
    assert once == again
    assert len({row.event_id for row in once}) == 2


def test_an_advisor_in_a_batch_is_billed_at_the_batch_rate() -> None:
    found = {**ADVISED, attributes.ANTHROPIC_SERVICE_TIER: str(b"batch", "ascii")}
    assert [cost for _, cost, _ in costs(found)] == [_EXECUTOR / 2, _ADVISOR / 2]


def test_an_executors_priority_or_fast_mode_is_not_its_advisors() -> None:
    for name, tier in (
        (attributes.ANTHROPIC_SERVICE_TIER, "priority"),
        (attributes.ANTHROPIC_SPEED, "fast"),
    ):
        assert costs({**ADVISED, name: tier})[1] == ("claude-opus-5", _ADVISOR, "priced")


def test_an_advisor_without_a_price_is_unpriced_and_its_call_is_priced() -> None:
    found = attributes_of_call(
        "claude-sonnet-4-6", 10, 5, entry("advisor_message", "claude-none-9", 100, 50)
    )
    assert [status for _, _, status in costs(found)] == ["priced", "unpriced"]


def test_a_model_that_declined_midway_is_billed_in_addition() -> None:
    found = attributes_of_call(
        "claude-fable-5-1",
        5_200,
        900,
        entry("message", "claude-fable-5-1", 5_000, 1_200),
        entry("fallback_message", "claude-opus-4-8", 5_200, 900),
        refusals=("cyber",),
    )
    assert costs(found) == [
        ("claude-opus-4-8", (5_200 * Decimal(5) + 900 * Decimal(25)) / PER_MILLION, "priced"),
        ("claude-fable-5-1", (5_000 * Decimal(10) + 1_200 * Decimal(50)) / PER_MILLION, "priced"),
    ]


@pytest.mark.parametrize("refusal", ["cyber", "general_harms", "", "bio", "frontier_llm"])
def test_a_model_that_declined_before_any_output_is_billed_in_some_areas_alone(
    refusal: str,
) -> None:
    found = attributes_of_call(
        "claude-opus-4-8",
        412,
        264,
        entry("message", "claude-fable-5", 535, 0),
        entry("fallback_message", "claude-opus-4-8", 412, 264),
        refusals=(refusal,),
    )
    answered = (
        "claude-opus-4-8",
        (412 * Decimal(5) + 264 * Decimal(25)) / PER_MILLION,
        "priced",
    )
    declined = ("claude-fable-5", 535 * Decimal(10) / PER_MILLION, "priced")
    is_billed = refusal in {"bio", "frontier_llm"}
    assert costs(found) == ([answered, declined] if is_billed else [answered])
    # No area was billed before 2026-09-24.
    assert costs(found, _BEFORE) == [answered]


def test_each_model_that_declined_is_judged_by_its_own_area() -> None:
    found = attributes_of_call(
        "claude-opus-4-8",
        100,
        10,
        entry("message", "claude-fable-5-1", 1_000, 7),
        entry("message", "claude-fable-5-1", 2_000, 0),
        entry("message", "claude-opus-5", 3_000, 0),
        entry("fallback_message", "claude-opus-4-8", 100, 10),
        refusals=("cyber", "bio"),
    )
    # The first declined in its second turn: the turn before it had output.
    assert [(row.model, row.input_tokens) for row in rows(found)] == [
        ("claude-opus-4-8", 100),
        ("claude-fable-5-1", 1_000),
        ("claude-opus-5", 3_000),
    ]


@pytest.mark.parametrize(
    ("refusal", "written", "cost"),
    [
        ("cyber", 0, Decimal(0)),
        ("", 0, Decimal(0)),
        ("bio", 0, 412 * Decimal(10) / PER_MILLION),
        ("cyber", 3, (412 * Decimal(10) + 3 * Decimal(50)) / PER_MILLION),
    ],
)
def test_a_refusal_before_output_is_free_except_in_some_policy_areas(
    refusal: str, written: int, cost: Decimal
) -> None:
    found = attributes_of_call(
        "claude-fable-5-1", 412, written, refusals=(refusal,), stop="refusal"
    )
    [row] = rows(found)
    assert (row.cost_usd, row.cost_status, row.input_tokens) == (cost, "priced", 412)
    assert bool(row.cost_note) is not bool(cost)


def test_an_answer_of_one_model_over_several_turns_is_one_row() -> None:
    turns = (entry("message", "claude-sonnet-4-6", 5, 1), entry("message", "", 5, 1))
    found = attributes_of_call("claude-sonnet-4-6", 10, 2, *turns)
    assert [model for model, _, _ in costs(found)] == ["claude-sonnet-4-6"]


@pytest.mark.parametrize(
    "iterations", ["x", 7, [None, "x", 3], [{"type": "advisor_message"}], [{"type": ["a"]}]]
)
def test_an_invalid_list_is_ignored(iterations: object) -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, "iterations": iterations}
    found = {
        **attributes_of_call("claude-sonnet-4-6", 10, 2),
        attributes.PROVIDER_USAGE: json.dumps(usage),
    }
    assert len(rows(found)) == 1


def test_a_long_list_is_not_truncated() -> None:
    """Half a usage object would be none: 100 entries are longer than any other text may be."""
    advice = entry("advisor_message", "claude-opus-5", 823, 1_612, read=100)
    found: dict[str, Any] = {
        **attributes_of_call("claude-sonnet-4-6", 1_760, 531, *[advice] * 100),
        attributes.FINISH_REASONS: ("end_turn",),
    }
    assert len(found[attributes.PROVIDER_USAGE]) > 2 * MAX_TEXT
    span = ReadableSpan(
        "chat claude-sonnet-4-6",
        context=SpanContext(1, 2, is_remote=False),
        attributes=found,
        resource=Resource({}),
        instrumentation_scope=InstrumentationScope("tokenledger.anthropic"),
        start_time=_SINCE,
        end_time=_SINCE + 1,
    )
    request = encode_spans([span]).SerializeToString()
    for kept in (decode_record(encode_span(span)), *decode_traces(request).records):
        of_call, *of_advice = build_rows(kept, HEADER, package_book)
        assert of_call.cost_usd == _EXECUTOR
        assert [row.cost_usd for row in of_advice] == [_ADVISOR] * 100


def test_an_advisor_reported_by_another_emitter_is_billed() -> None:
    """Vercel's AI SDK tells Anthropic's whole usage object among its metadata."""
    usage = {
        "input_tokens": 1_760,
        "output_tokens": 531,
        "cache_read_input_tokens": 0,
        "iterations": [
            entry("message", "claude-sonnet-4-6", 1_760, 531),
            entry("advisor_message", "claude-opus-5", 823, 1_612, read=100),
        ],
    }
    found: dict[str, Any] = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "anthropic.messages",
        "ai.response.model": "claude-sonnet-4-6",
        "ai.usage.inputTokens": 1_760,
        "ai.usage.outputTokens": 531,
        "ai.response.providerMetadata": json.dumps({"anthropic": {"usage": usage}}),
    }
    span = ReadableSpan(
        "ai.generateText.doGenerate",
        attributes=found,
        resource=Resource({}),
        instrumentation_scope=InstrumentationScope("ai"),
        start_time=_SINCE,
        end_time=_SINCE + 1,
    )
    attributes_of_call = build_rows(decode_record(encode_span(span)), HEADER, package_book)
    assert [(row.model, row.cost_usd) for row in attributes_of_call] == [
        ("claude-sonnet-4-6", _EXECUTOR),
        ("claude-opus-5", _ADVISOR),
    ]


def test_a_meter_knows_what_an_advisor_cost_too() -> None:
    price = price_of(ADVISED, _SINCE, failed=False, header=HEADER, prices_of=package_book)
    assert price == _EXECUTOR + _ADVISOR


def test_an_advised_call_has_two_rows_after_deduplication(database_url: str) -> None:
    attributed: dict[str, Any] = {**ADVISED, attributes.FINISH_REASONS: ("end_turn",)}
    with opened(database_url) as ledger:
        tracer = ledger.tracer_provider.get_tracer("tokenledger.anthropic")
        tracer.start_span("chat claude-sonnet-4-6", attributes=attributed).end()
        assert ledger.flush(timeout=10.0) == 2
    question = "SELECT model, cost_usd, settled, duration_ms IS NULL FROM token_ledger_events"
    assert ask(database_url, f"{question} ORDER BY model DESC") == [
        ("claude-sonnet-4-6", _EXECUTOR, True, False),
        ("claude-opus-5", _ADVISOR, True, True),
    ]


def test_turns_that_only_together_are_a_long_prompt_make_the_row_partial() -> None:
    turns = (
        entry("message", "claude-haiku-5-5", 60_000, 100),
        entry("message", "claude-haiku-5-5", 70_000, 200),
    )
    [row] = rows(attributes_of_call("claude-haiku-5-5", 130_000, 300, *turns))
    at_the_sums_length = (130_000 * Decimal("0.5") + 300 * Decimal("2.5")) / PER_MILLION
    assert (row.cost_usd, row.cost_status) == (at_the_sums_length, "partial")
    assert row.cost_note == "unknown: whether the price depends on each turn or on their sum"


@pytest.mark.parametrize(
    ("model", "turns"),
    [
        ("claude-haiku-5-5", (101_000, 102_000)),
        ("claude-haiku-5-5", (30_000, 40_000)),
        ("claude-haiku-5-5", (130_000,)),
        ("claude-opus-5", (60_000, 170_000)),
    ],
    ids=str,
)
def test_turns_that_cost_the_same_alone_and_together_are_priced(
    model: str, turns: tuple[int, ...]
) -> None:
    made = [entry("message", model, counted, 100) for counted in turns]
    [row] = rows(attributes_of_call(model, sum(turns), 100 * len(turns), *made))
    assert (row.cost_status, row.cost_note) == ("priced", "")


def test_an_advisors_turn_is_not_counted_for_the_answer() -> None:
    turns = (
        entry("message", "claude-haiku-5-5", 130_000, 100),
        entry("advisor_message", "claude-opus-5", 90_000, 200),
    )
    call, _ = rows(attributes_of_call("claude-haiku-5-5", 130_000, 100, *turns))
    assert call.cost_status == "priced"


FALLBACK = entry("fallback_message", "claude-opus-4-8", 100, 10)


def inputs(*iterations: dict[str, Any], refusals: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    """Model and input tokens of each row of a call that Opus 4.8 answered."""
    found = attributes_of_call("claude-opus-4-8", 100, 10, *iterations, FALLBACK, refusals=refusals)
    return [(row.model, row.input_tokens or 0) for row in rows(found)]


def test_a_refusal_before_any_output_is_billed_since_the_first_moment_of_september_24() -> None:
    start = int(datetime(2026, 9, 24, tzinfo=timezone.utc).timestamp()) * 1_000_000_000
    found = attributes_of_call("claude-fable-5-1", 412, 0, refusals=("bio",), stop="refusal")
    billed = 412 * Decimal(10) / PER_MILLION
    assert [cost for _, cost, _ in costs(found, start)] == [billed]
    assert [cost for _, cost, _ in costs(found, start - 1_000)] == [0]


def test_the_last_refusal_of_a_call_without_an_answer_decides_whether_it_is_billed() -> None:
    found = attributes_of_call(
        "claude-fable-5-1", 412, 0, refusals=("cyber", "bio"), stop="refusal"
    )
    assert [cost for _, cost, _ in costs(found)] == [412 * Decimal(10) / PER_MILLION]


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence"])
def test_an_empty_answer_that_is_not_a_refusal_is_billed(stop: str) -> None:
    found = attributes_of_call(
        "claude-fable-5-1", 412, 0, entry("message", "claude-fable-5-1", 412, 0), stop=stop
    )
    assert [cost for _, cost, _ in costs(found)] == [412 * Decimal(10) / PER_MILLION]


def test_a_refusal_without_a_count_of_the_output_is_not_known_to_be_free() -> None:
    found = attributes_of_call("claude-fable-5-1", 412, 0, refusals=("cyber",), stop="refusal")
    del found[attributes.OUTPUT_TOKENS], found[attributes.PROVIDER_USAGE]
    [row] = rows(found)
    assert (row.cost_usd, row.cost_status) == (412 * Decimal(10) / PER_MILLION, "partial")


def test_a_call_without_the_providers_usage_object_is_one_row() -> None:
    found = attributes_of_call("claude-sonnet-4-6", 10, 5)
    del found[attributes.PROVIDER_USAGE]
    assert len(rows(found)) == 1


def test_the_last_fallback_is_the_model_that_answered() -> None:
    found = attributes_of_call(
        "claude-sonnet-4-6",
        100,
        10,
        entry("fallback_message", "claude-fable-5-1", 100, 10),
        FALLBACK,
    )
    assert [row.model for row in rows(found)] == ["claude-opus-4-8"]


def test_a_turn_of_the_answering_model_is_not_billed_again() -> None:
    assert inputs(entry("message", "claude-opus-4-8", 50, 5)) == [("claude-opus-4-8", 100)]


@pytest.mark.parametrize("kind", ["a_message", "b_message", "n_message", "z_message"])
def test_an_entry_of_an_unknown_type_is_not_billed(kind: str) -> None:
    unknown = entry(kind, "claude-opus-5", 1_000, 100)
    found = attributes_of_call("claude-opus-4-8", 100, 10, FALLBACK, unknown)
    assert [row.model for row in rows(found)] == ["claude-opus-4-8"]


def test_an_entry_without_a_model_does_not_end_the_list() -> None:
    advisor = entry("advisor_message", "claude-opus-5", 823, 5)
    assert inputs(entry("message", "", 5, 1), advisor) == [
        ("claude-opus-4-8", 100),
        ("claude-opus-5", 823),
    ]


def test_refusals_belong_to_the_models_that_declined_in_their_order() -> None:
    opus, fable, haiku = (
        entry("message", model, counted, 0)
        for model, counted in (
            ("claude-opus-5", 1_000),
            ("claude-fable-5-1", 2_000),
            ("claude-haiku-5-5", 3_000),
        )
    )
    began = entry("message", "claude-fable-5-1", 500, 7)
    answer = ("claude-opus-4-8", 100)
    assert inputs(opus, fable, refusals=("cyber", "bio")) == [answer, ("claude-fable-5-1", 2_000)]
    assert inputs(opus, began, fable, refusals=("cyber", "bio")) == [
        answer,
        ("claude-fable-5-1", 500),
        ("claude-fable-5-1", 2_000),
    ]
    assert inputs(opus, fable, haiku, refusals=("cyber", "cyber", "bio")) == [
        answer,
        ("claude-haiku-5-5", 3_000),
    ]
    # A refusal whose area is not known is not billed.
    assert inputs(opus, fable, haiku, refusals=("cyber",)) == [answer]


def test_only_a_fallback_changes_the_model_of_a_call() -> None:
    found = attributes_of_call("claude-sonnet-4-6", 10, 5, entry("message", "claude-opus-5", 10, 5))
    assert [row.model for row in rows(found)] == ["claude-sonnet-4-6"]
