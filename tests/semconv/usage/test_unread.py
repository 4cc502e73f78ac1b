"""Billed usage that no reader reads is named, whatever a provider calls it."""

from __future__ import annotations

import pytest

from tokenledger_semconv.usage.unread import joined, unread_usage


@pytest.mark.parametrize(
    ("usage", "fields"),
    [
        ({"input_audio_seconds": 300}, ["input_audio_seconds"]),
        ({"audioSeconds": 2.5}, ["audioSeconds"]),
        ({"billed_units": {"images": 1}}, ["billed_units.images"]),
        ({"billed_units": {"search_units": 2}}, ["billed_units.search_units"]),
        ({"pages": 4, "ocr_pages": 0}, ["pages"]),
        ({"input_characters": 12}, ["input_characters"]),
        ({"num_sources_used": 9}, ["num_sources_used"]),
        ({"citation_tokens": 500, "num_search_queries": 20}, ["citation_tokens"]),
        (
            {"server_side_tool_usage_details": {"x_search_calls": 2, "web_search_calls": 0}},
            ["server_side_tool_usage_details.x_search_calls"],
        ),
        ({"server_tool_use": {"oracle": 1, "web_search_requests": 2}}, ["server_tool_use.oracle"]),
        ({"a": {"b": {"video_seconds": 1}}}, ["a.b.video_seconds"]),
    ],
)
def test_a_billed_field_that_is_not_read_is_named(
    usage: dict[str, object], fields: list[str]
) -> None:
    assert unread_usage(usage) == "; ".join(f"usage field {field}" for field in fields)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        {"queue_time": 0.2, "prompt_time": 0.1, "total_latency": 3, "acceptance_rate": 0.9},
        {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}},
        {"prompt_audio_seconds": 300, "num_search_queries": 1},
        {"audio_seconds": 0, "pages": None, "images": True, "searches": "3", "requests": [1]},
        {"completion_tokens_details": {"accepted_prediction_tokens": 5}},
        {"a b_seconds": 3, "x" * 80 + "_seconds": 3},
    ],
)
def test_known_and_harmless_fields_are_not_named(usage: dict[str, object]) -> None:
    assert unread_usage(usage) == ""


def test_a_usage_object_of_any_size_is_searched_only_so_far() -> None:
    wide: dict[str, object] = {f"x{number}_calls": 1 for number in range(10_000)}
    assert len(unread_usage(wide).split("; ")) == 8
    deep: dict[str, object] = {"a": {"b": {"c": {"d_calls": 1}}}}
    assert unread_usage(deep) == ""


def test_what_is_unknown_is_named_once() -> None:
    assert joined("a", None, "", "b", "a") == "a; b"
