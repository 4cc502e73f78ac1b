"""One call: what it was, how its cost was calculated, and the other calls of its trace."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries import explain
from tokenledger_exporter.queries.lists.calls import call_steps, neighbors_steps
from tokenledger_exporter.web.frame import current_frame
from tokenledger_exporter.web.pages.listing import CSV, csv_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS
from tokenledger_exporter.web.request_values import find_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/calls"
_MAX_NEIGHBORS: Final = 20
_DAY: Final = timedelta(days=1)
_LINES: Final = ("kind", "priced_as", "units", "price_usd", "per", "cost_usd")

_ATTRIBUTION: Final = (
    ("user", "user_id"),
    ("organization", "organization_id"),
    ("session", "session_id"),
    ("feature", "feature"),
    ("team", "team"),
    ("project", "project"),
    ("cost_center", "cost_center"),
    ("agent", "agent_id"),
    ("app", "app_name"),
    ("release", "release"),
    ("environment", "environment"),
    ("endpoint", "endpoint"),
)
"""Dimension -> column."""

_COUNTS: Final = (
    ("Input", "input_tokens"),
    ("of it from a cache", "cached_tokens"),
    ("of it written to a cache", "cache_write_tokens"),
    ("of it written for an hour", "cache_write_1h_tokens"),
    ("of it audio", "audio_input_tokens"),
    ("of it images", "image_input_tokens"),
    ("Output", "output_tokens"),
    ("of it reasoning", "reasoning_tokens"),
    ("of it audio", "audio_output_tokens"),
    ("of it images", "image_output_tokens"),
    ("Total", "total_tokens"),
    ("Audio seconds", "audio_seconds"),
    ("Characters", "input_characters"),
    ("Images", "images"),
    ("Web searches", "web_search_requests"),
    ("File searches", "file_search_requests"),
    ("Code executions", "code_execution_requests"),
)
_ALWAYS: Final = frozenset({"input_tokens", "output_tokens", "total_tokens"})


def _call(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values)
    with collect_sql() as statements:
        explanation = find_call(connection, values["event_id"])
        event_id = explanation.call.event_id
        call = run_steps(connection, call_steps(event_id))
        neighbors = (
            run_steps(connection, neighbors_steps(call, _MAX_NEIGHBORS)) if call["trace_id"] else []
        )
    return html(
        "call",
        "calls",
        view,
        call=call,
        explanation=explanation,
        document=explain.as_document(explanation),
        attribution=[(name, call[column]) for name, column in _ATTRIBUTION if call[column]],
        counts=_counts(call),
        neighbors=neighbors if len(neighbors) > 1 else [],
        day=_DAY,
        trace_url=_trace_url(current_frame().trace_url, call["trace_id"]),
        statements=statements,
        files=(f"/csv/calls/{event_id}", f"/api/v1/events/{event_id}/explain"),
    )


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    document = explain.as_document(find_call(connection, values["event_id"]))
    return csv_of(_LINES, document["lines"])


def _counts(call: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Its counts; one that was not reported is `None`, and left out unless every call has it."""
    return [
        (title, call[column])
        for title, column in _COUNTS
        if call[column] is not None or column in _ALWAYS
    ]


def _trace_url(template: str, trace_id: str) -> str:
    """Where the user's tracing system shows a trace; "" without a template or a trace."""
    # The id is hexadecimal in every span; text from elsewhere must not change the address.
    is_plain = bool(trace_id) and trace_id.isascii() and trace_id.isalnum()
    return template.replace("{trace_id}", trace_id) if template and is_plain else ""


CALL: Final = (
    Page("/calls/{event_id}", VIEW_PARAMETERS, _call),
    Page("/csv/calls/{event_id}", (), _csv, CSV),
)
"""The page, and its arithmetic as CSV."""
