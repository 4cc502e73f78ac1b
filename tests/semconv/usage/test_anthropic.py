"""Anthropic's usage object becomes the token vector: caches and compactions are added to input."""

from __future__ import annotations

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.anthropic import iterations, message_tokens


def test_input_includes_what_the_cache_read_and_wrote() -> None:
    usage: dict[str, object] = {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_input_tokens": 1_000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "output_tokens_details": {"thinking_tokens": 8},
        "server_tool_use": {"web_search_requests": 2, "code_execution_requests": 1},
    }
    assert message_tokens(usage) == TokenVector(
        input_tokens=100 + 1_000 + 300,
        output_tokens=20,
        cached_tokens=1_000,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        reasoning_tokens=8,
        web_search_requests=2,
        code_execution_requests=1,
    )


def test_cache_writes_without_a_total_are_the_sum_of_their_lifetimes() -> None:
    usage: dict[str, object] = {
        "input_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    }
    assert message_tokens(usage).cache_write_tokens == 30


def test_a_compaction_is_added_and_a_turn_is_not() -> None:
    usage: dict[str, object] = {
        "input_tokens": 100,
        "output_tokens": 20,
        "iterations": [
            {"type": "compaction", "input_tokens": 5_000, "output_tokens": 400},
            {"type": "message", "input_tokens": 100, "output_tokens": 20},
        ],
    }
    tokens = message_tokens(usage)
    assert (tokens.input_tokens, tokens.output_tokens) == (5_100, 420)


def test_a_compaction_does_not_pass_for_a_total_that_is_missing() -> None:
    usage: dict[str, object] = {
        "input_tokens": 100,
        "iterations": [{"type": "compaction", "input_tokens": 5_000, "output_tokens": 400}],
    }
    tokens = message_tokens(usage)
    assert (tokens.input_tokens, tokens.output_tokens) == (5_100, None)


def test_iterations_are_a_bounded_list_of_known_kinds() -> None:
    assert iterations({"iterations": "many"}) == []
    mixed: dict[str, object] = {"iterations": [{"type": "message"}, {"type": "other"}, "no object"]}
    assert iterations(mixed) == [{"type": "message"}]
    endless: dict[str, object] = {"iterations": [{"type": "message"}] * 300}
    assert len(iterations(endless)) == 256
