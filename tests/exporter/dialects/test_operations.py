"""Unlisted operations: a span with a model and tokens is a call unless it contains other calls."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, build_row, chat_attributes, package_book, record
from tokenledger_semconv import attributes


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("responses", "chat"),
        ("messages", "chat"),
        ("chat_completion", "chat"),
        ("chat.completions", "chat"),
        ("Chat", "chat"),
        ("CHAT", "chat"),
        ("inference", "chat"),
        ("InvokeModel", "chat"),
        ("completion", "text_completion"),
        ("text-generation", "text_completion"),
        ("Embedding", "embeddings"),
        ("generateContent", "generate_content"),
        ("summarize", "summarize"),
        ("my.own-name", "my.own-name"),
        ("truncate_and_answer", "truncate_and_answer"),
        ("explain", "explain"),
    ],
)
def test_a_span_with_a_model_and_tokens_is_a_call_whatever_its_operation_is_named(
    name: str, operation: str
) -> None:
    span = replace(record(chat_attributes(gen_ai__operation__name=name)), scope="an.app")
    row = build_row(span, HEADER, package_book)
    assert row is not None
    assert (row.operation, row.cost_status, row.total_tokens) == (operation, "priced", 1_100)


@pytest.mark.parametrize(
    "name",
    [
        *("invoke_agent", "execute_tool", "create_agent", "invoke_workflow", "retrieval"),
        *("agent.run", "AgentExecutor", "run_chain", "crew.kickoff", "evaluate", "handoff"),
        *("fetch_response", "getCompletion", "poll", "List-Messages"),
        *("...", "task", "search_memory", "plan"),
    ],
)
def test_a_span_whose_name_says_it_contains_calls_is_not_a_call(name: str) -> None:
    span = replace(record(chat_attributes(gen_ai__operation__name=name)), scope="an.app")
    assert build_row(span, HEADER, package_book) is None


@pytest.mark.parametrize("missing", [attributes.REQUEST_MODEL, "usage"])
def test_an_unknown_operation_without_model_or_tokens_is_not_a_call(missing: str) -> None:
    span_attributes = chat_attributes(gen_ai__operation__name="summarize")
    for name in [name for name in span_attributes if missing in name]:
        del span_attributes[name]
    span = replace(record(span_attributes), scope="an.app")
    assert build_row(span, HEADER, package_book) is None
