"""`track_cost(...)`: a row for a call that no instrumentor saw, through the same path as theirs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tokenledger.failures import Guard, report
from tokenledger.precedence import given_layer
from tokenledger.reading import Reading
from tokenledger.runtime import RUNTIME
from tokenledger.tracing import CallTracer, Request
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE: Final = "track_cost"
_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
_SUCCESS: Final = "success"
# What the conventions ask for where a failure has no class of its own.
_OTHER_ERROR: Final = "_OTHER"
_PROVIDER_PREFIXES: Final = (
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("chatgpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding", "openai"),
)
_TRACER: Final = CallTracer("track")


def track_cost(  # noqa: PLR0913 - one keyword per column of the row
    input_tokens: int | None = 0,
    output_tokens: int | None = 0,
    model: str = "",
    *,
    provider: str | None = None,
    user_id: object = None,
    session_id: object = None,
    organization_id: object = None,
    feature: object = None,
    team: object = None,
    project: object = None,
    cost_center: object = None,
    agent_id: object = None,
    endpoint: object = None,
    metadata: Mapping[str, object] | None = None,
    cached_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    cache_write_1h_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    duration_ms: float | None = None,
    status: str = "success",
    operation: str = "chat",
) -> None:
    """Book one model call by hand. Never raises; a count that is none is left off and counted.

    Args:
        input_tokens: input, including cached tokens; `None` if unknown.
        output_tokens: output, including reasoning; `None` if unknown.
        model: the model that answered.
        provider: who answered; `None` finds it by the model.
        user_id: whom the call was made for.
        session_id: the session or conversation.
        organization_id: the tenant.
        feature: the product feature.
        team: the team that owns it.
        project: the project the cost belongs to.
        cost_center: the cost centre the cost belongs to.
        agent_id: the agent that made the call.
        endpoint: the app's route that led to the call.
        metadata: further keys; one of the names above also fills its column.
        cached_tokens: input served from a cache, within input.
        cache_write_tokens: input written to a cache, within input.
        cache_write_1h_tokens: of these, kept one hour.
        reasoning_tokens: reasoning, within output.
        duration_ms: how long the call took, in milliseconds; it then ended just now.
        status: "success", or anything else for a failed call.
        operation: the kind of call: `chat`, `embeddings` ...
    """
    known = {
        "user_id": user_id,
        "session_id": session_id,
        "organization_id": organization_id,
        "feature": feature,
        "team": team,
        "project": project,
        "cost_center": cost_center,
        "agent_id": agent_id,
        "endpoint": endpoint,
    }
    if not RUNTIME.setup.recording:
        return
    with Guard(_PLACE):
        tokens = TokenVector(
            input_tokens=_count("input_tokens", input_tokens),
            output_tokens=_count("output_tokens", output_tokens),
            cached_tokens=_count("cached_tokens", cached_tokens),
            cache_write_tokens=_count("cache_write_tokens", cache_write_tokens),
            cache_write_1h_tokens=_count("cache_write_1h_tokens", cache_write_1h_tokens),
            reasoning_tokens=_count("reasoning_tokens", reasoning_tokens),
        )
        request = Request(
            operation=str(operation),
            provider=provider_of(str(model)) if provider is None else str(provider),
            model=str(model),
            per_call=given_layer(known, metadata),
        )
        _book(request, tokens, duration_ms, failed=status != _SUCCESS)


def provider_of(model: str) -> str:
    """Who sells a model, where its name says so; "" leaves it for the exporter to find."""
    return next((name for prefix, name in _PROVIDER_PREFIXES if model.startswith(prefix)), "")


def _book(
    request: Request, tokens: TokenVector, duration_ms: float | None, *, failed: bool
) -> None:
    ended = time.time_ns()
    took = 0 if duration_ms is None else _nanoseconds(duration_ms)
    call = _TRACER.start(request, ended - took)
    call.finish(
        Reading(
            response_model=request.model or None,
            tokens=tokens,
            error_type=_OTHER_ERROR if failed else "",
        ),
        end_time_ns=ended,
    )


def _count(name: str, value: object) -> int | None:
    """A token count, or nothing where the value is none; a wrong one is reported, not booked."""
    if value is None:
        return None
    if type(value) is int and value >= 0:
        return value
    report(f"{_PLACE}({name}=)", f"{type(value).__name__} that is no count of 0 or more")
    return None


def _nanoseconds(duration_ms: float) -> int:
    try:
        return max(0, round(duration_ms * _NANOSECONDS_PER_MILLISECOND))
    except (TypeError, ValueError, OverflowError):
        report(f"{_PLACE}(duration_ms=)", f"{type(duration_ms).__name__} that is no duration")
        return 0
