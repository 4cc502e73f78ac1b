"""What the hosted tools of a response cost in addition to its tokens."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

import tokenledger
from support.ledger_in_memory import rows_of
from support.loopback import Loopback, lines, method_of, said, streamed
from support.openai_cases import MESSAGES, PROMPT, completion, response
from tokenledger._usage.openai import read_response
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory, LedgerRow
    from support.loopback import Reply

_MILLION = Decimal(1_000_000)
_GPT_5_5 = (1_000 * Decimal(5) + 200 * Decimal(30)) / _MILLION
"""The model's own tokens of `asked`, at 5 and 30 dollars a million."""
_SEARCH = Decimal(10) / 1_000
_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}
_DRAWN = {
    "input_tokens": 1_550,
    "input_tokens_details": {"image_tokens": 1_521, "text_tokens": 29},
    "cached_tokens": 1_100,
    "cached_tokens_details": {"cached_image_tokens": 1_090, "cached_text_tokens": 10},
    "output_tokens": 515,
    "output_tokens_details": {"image_tokens": 515, "text_tokens": 0},
    "total_tokens": 2_065,
}
_DRAWN_USD = (
    (1_521 - 1_090) * Decimal(8)
    + (29 - 10) * Decimal(5)
    + 1_090 * Decimal(2)
    + 10 * Decimal("1.25")
    + 515 * Decimal(30)
) / _MILLION
_IMAGE_CALL = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "aA"}
_IMAGE_TOOL = {"type": "image_generation", "model": "gpt-image-2", "size": "auto"}
_WRITTEN = {
    "model": "gpt-6-sol",
    "input_tokens": 300,
    "output_tokens": 4_000,
    "reasoning_tokens": 1_000,
    "total_tokens": 4_300,
}
_WRITTEN_USD = (300 * Decimal(2) + 4_000 * Decimal(10)) / _MILLION
_PAINTED: dict[str, Any] = {
    "input_tokens": 43,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 31},
    "output_tokens": 4_160,
    "total_tokens": 4_203,
}


def searched(kind: str | None, number: int = 1) -> dict[str, Any]:
    action = {} if kind is None else {"action": {"type": kind, "url": "x", "query": "canary"}}
    return {"id": f"ws_{number}", "type": "web_search_call", "status": "completed", **action}


def asked(*output: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    counted = {
        "input_tokens": 1_000,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1_200,
    }
    return {**response(), "model": "gpt-5.5", "output": list(output), "usage": counted, **more}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="sk-canary-key", max_retries=0) as client:
        yield client


def called(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, reply: Reply
) -> list[LedgerRow]:
    """The rows of one call of the Responses API."""
    server.on("/responses", reply)
    stream = reply.content_type.startswith("text/event-stream")
    answer = method_of(client, "responses.create")(model="gpt-5.5", input=PROMPT, stream=stream)
    if stream:
        list(answer)
    [span] = ledger.spans
    return rows_of(span)


def money(rows: list[LedgerRow]) -> list[tuple[str, Decimal | None, str]]:
    return [(row.model, row.cost_usd, row.cost_status) for row in rows]


def test_searches_are_billed_and_opened_pages_are_not(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    output = [searched(kind) for kind in ("search", "open_page", "search", "find_in_page", None)]
    [row] = called(ledger, server, client, said(asked(*output)))
    assert row.web_search_requests == 3
    assert (row.cost_usd, row.cost_status) == (_GPT_5_5 + 3 * _SEARCH, "priced")


@pytest.mark.parametrize("billed", [0, 1])
def test_the_number_of_searches_is_the_one_that_openai_bills(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, billed: int
) -> None:
    used = {"image_gen": _NO_IMAGES, "web_search": {"num_requests": billed}}
    output = [searched("search", 1), searched("search", 2)]
    [row] = called(ledger, server, client, said(asked(*output, tool_usage=used)))
    assert row.web_search_requests == billed
    assert (row.cost_usd, row.cost_status) == (_GPT_5_5 + billed * _SEARCH, "priced")


def test_a_response_without_tools_counts_none(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    used = {"image_gen": _NO_IMAGES, "web_search": {"num_requests": 0}}
    [row] = called(ledger, server, client, said(asked(tool_usage=used)))
    assert row.web_search_requests is None
    assert (row.cost_usd, row.cost_status, row.cost_note) == (_GPT_5_5, "priced", "")


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_an_image_drawn_by_a_tool_is_billed_at_the_image_models_rates(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, is_streamed: bool
) -> None:
    used = {"image_gen": _DRAWN, "web_search": {"num_requests": 0}}
    answer = asked(_IMAGE_CALL, tools=[_IMAGE_TOOL], tool_usage=used)
    event = {"type": "response.completed", "sequence_number": 1, "response": answer}
    reply = streamed([event]) if is_streamed else said(answer)
    call, image = called(ledger, server, client, reply)
    assert money([call, image]) == [
        ("gpt-5.5", _GPT_5_5, "priced"),
        ("gpt-image-2", _DRAWN_USD, "priced"),
    ]
    assert (call.input_tokens, call.output_tokens, call.image_output_tokens) == (1_000, 200, None)
    assert (image.operation, image.response_id, image.duration_ms) == ("image_generation", "", None)
    assert (image.trace_id, image.timestamp) == (call.trace_id, call.timestamp)
    assert (image.cached_tokens, image.cached_image_tokens) == (1_100, 1_090)
    assert json.loads(image.details) == {attributes.USAGE_PART: "image_generation"}
    assert attributes.FURTHER_USAGE not in json.loads(call.details)


def test_an_image_without_output_details_is_billed_as_image_tokens(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    drawn = {"input_tokens": 27, "output_tokens": 515, "total_tokens": 542}
    tool = {**_IMAGE_TOOL, "model": "gpt-image-1.5"}
    answer = asked(_IMAGE_CALL, tools=[tool], tool_usage={"image_gen": drawn})
    _, image = called(ledger, server, client, said(answer))
    # Image tokens cost 32 dollars per million, text tokens 10.
    assert image.cost_usd == (27 * Decimal(5) + 515 * Decimal(32)) / _MILLION


def test_an_image_model_without_a_list_price_is_unpriced_and_the_call_is_priced(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    tool = {**_IMAGE_TOOL, "model": "gpt-image-2-codex"}
    answer = asked(_IMAGE_CALL, tools=[tool], tool_usage={"image_gen": _DRAWN})
    rows = called(ledger, server, client, said(answer))
    assert money(rows) == [
        ("gpt-5.5", _GPT_5_5, "priced"),
        ("gpt-image-2-codex", None, "unpriced"),
    ]


@pytest.mark.parametrize("used", [None, {"image_gen": _NO_IMAGES}], ids=["untold", "skipped"])
def test_an_image_without_reported_tokens_makes_the_row_partial(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, used: dict[str, Any] | None
) -> None:
    answer = asked(_IMAGE_CALL, tools=[_IMAGE_TOOL], tool_usage=used)
    [row] = called(ledger, server, client, said(answer))
    assert (row.cost_usd, row.cost_status) == (_GPT_5_5, "partial")
    assert row.cost_note == "unknown: what the image_generation tool used"


def test_the_model_that_writes_an_svg_is_billed_apart_from_the_one_that_draws(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    drawing = {**_IMAGE_CALL, "output_format": "svg", "svg_usage": _WRITTEN}
    answer = asked(drawing, tools=[_IMAGE_TOOL], tool_usage={"image_gen": _DRAWN})
    rows = called(ledger, server, client, said(answer))
    assert money(rows)[1:] == [
        ("gpt-image-2", _DRAWN_USD, "priced"),
        ("gpt-6-sol", _WRITTEN_USD, "priced"),
    ]
    assert (rows[2].operation, rows[2].reasoning_tokens) == ("chat", 1_000)


def test_an_svg_of_the_images_api_is_billed_apart_too(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    answer: dict[str, Any] = {"created": 1, "data": [{}], "usage": _PAINTED, "svg_usage": _WRITTEN}
    server.on("/images/generations", said(answer))
    method_of(client, "images.generate")(model="gpt-image-2", prompt=PROMPT)
    [span] = ledger.spans
    assert money(rows_of(span)) == [
        ("gpt-image-2", (12 * 5 + 31 * 8 + 4_160 * 30) / _MILLION, "priced"),
        ("gpt-6-sol", _WRITTEN_USD, "priced"),
    ]


def test_a_meter_adds_the_images_up(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    del ledger
    answer = asked(_IMAGE_CALL, tools=[_IMAGE_TOOL], tool_usage={"image_gen": _DRAWN})
    server.on("/responses", said(answer))
    with tokenledger.meter() as meter:
        method_of(client, "responses.create")(model="gpt-5.5", input=PROMPT)
    assert meter.cost_usd == _GPT_5_5 + _DRAWN_USD


def test_a_hosted_shell_runs_in_a_container_and_a_local_one_does_not(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    shell: dict[str, Any] = {
        "type": "shell_call",
        "call_id": "c",
        "status": "completed",
        "action": {},
    }
    hosted = {**shell, "environment": {"type": "container_reference", "container_id": "cntr_1"}}
    local = {**shell, "environment": {"type": "local"}}
    [row] = called(ledger, server, client, said(asked(hosted, local)))
    # A container is billed by the minute, which no answer reports.
    assert (row.code_execution_requests, row.cost_status) == (1, "partial")
    assert row.cost_note == "no price for code_execution"


@pytest.mark.parametrize(
    "case",
    [
        ("gpt-4o", "web_search", ""),
        ("gpt-4o", "web_search_preview", "what web_search_preview costs with this model"),
        ("gpt-4.1", "web_search_preview_2025_03_11", "what web_search_preview costs with this"),
        ("gpt-5.5", "web_search_preview", ""),
        ("gpt-4o-mini", "web_search", "whether the 8,000 input tokens"),
        ("gpt-4.1-mini-2025-04-14", "web_search", "whether the 8,000 input tokens"),
    ],
    ids=str,
)
def test_a_search_without_a_list_price_makes_the_row_partial(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, case: tuple[str, str, str]
) -> None:
    model, tool, note = case
    answer = asked(searched("search"), model=model, tools=[{"type": tool}])
    [row] = called(ledger, server, client, said(answer))
    assert row.cost_status == ("partial" if note else "priced")
    assert row.cost_note.startswith(f"unknown: {note}" if note else "")


def test_a_search_is_counted_in_every_chat_that_always_searches(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    counted = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    answer = {**completion(), "model": "gpt-4o-search-preview", "usage": counted}
    server.on("/chat/completions", said(answer))
    client.chat.completions.create(model="gpt-4o-search-preview", messages=MESSAGES)
    [span] = ledger.spans
    [row] = rows_of(span)
    assert (row.web_search_requests, row.cost_status) == (1, "partial")
    assert row.cost_note == "no price for web_search"


def test_cache_writes_stored_for_twelve_hours_have_no_list_price(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    written = {"ttl_12h_tokens": 64, "ttl_30m_tokens": 32}
    counted = {
        "input_tokens": 1_000,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 96,
            "cache_write_tokens_details": written,
        },
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1_200,
    }
    answer = asked(model="gpt-5.6-sol", usage=counted)
    [row] = called(ledger, server, client, said(answer))
    at_list = (904 * Decimal(4) + 96 * Decimal(5) + 200 * Decimal(20)) / _MILLION
    assert (row.cost_usd, row.cost_status, row.cache_write_tokens) == (at_list, "partial", 96)
    assert row.cost_note == "unknown: the price of cache writes kept for 12 hours"


def test_images_of_a_batch_are_billed_by_the_model_their_batch_names(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    body = {"created": 1_790_000_000, "data": [{"b64_json": "aA"}], "usage": _PAINTED}
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}}
    batch = {
        "id": "batch_7",
        "object": "batch",
        "created_at": 1_790_000_000,
        "endpoint": "/v1/images/generations",
        "input_file_id": "file-in",
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": "painted",
        "model": "gpt-image-2",
    }
    server.on("/batches/batch_7", said(batch))
    server.on("/files/painted/content", lines(line))
    client.batches.retrieve("batch_7")
    client.files.content("painted").read()
    [span] = ledger.spans
    [row] = rows_of(span)
    assert (row.model, row.operation, row.images) == ("gpt-image-2", "image_generation", 1)
    assert row.service_tier == "batch"
    # Batch prices began on 2026-10-14; this batch is older, and cost the standard rate.
    assert row.cost_usd == (12 * 5 + 31 * 8 + 4_160 * 30) / _MILLION


def test_tools_of_an_unknown_shape_break_nothing() -> None:
    wrong: tuple[object, ...] = (7, [], {"image_gen": 3}, {"web_search": {"num_requests": "2"}})
    for used in wrong:
        result = read_response({**asked(searched("search")), "tool_usage": used})
        assert result[attributes.WEB_SEARCH_REQUESTS] == 1
