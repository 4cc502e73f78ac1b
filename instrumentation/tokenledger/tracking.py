"""Booking a call that no instrumentor saw: `track_cost` and, under older names, `track`.

Both make the same kind of span as a recorded call, so their rows are priced and grouped alike.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypedDict, TypeVar, cast, overload

from tokenledger.booking import SUCCESS, Booking, Checked, book
from tokenledger.failures import Guard, report
from tokenledger.precedence import NOTHING, clean, given_layer
from tokenledger.reading import token_attributes
from tokenledger.runtime import RUNTIME
from tokenledger.tracked import Tracked
from tokenledger_semconv.families import provider_of
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime
    from decimal import Decimal

    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")

_UNSAID: Final[Any] = object()
_CHAT: Final = "chat"


class CallAttribution(TypedDict, total=False):
    """The attribution `track_cost` takes; each as in `attribution`."""

    user_id: object
    session_id: object
    organization_id: object
    feature: object
    team: object
    project: object
    cost_center: object
    agent_id: object
    endpoint: object
    metadata: Mapping[str, object] | None


@overload
def track_cost(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def track_cost(
    *, model: str | None = "", provider: str | None = None, **attribution: Unpack[CallAttribution]
) -> Tracked: ...


@overload
def track_cost(
    input_tokens: int | None,
    output_tokens: int | None = 0,
    model: str | None = "",
    *,
    provider: str | None = None,
    cached_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    cache_write_1h_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    duration_ms: float | None = None,
    status: str = SUCCESS,
    operation: str = _CHAT,
    **attribution: Unpack[CallAttribution],
) -> None: ...


def track_cost(  # noqa: PLR0913 - one keyword per column of the row
    input_tokens: object = _UNSAID,
    output_tokens: object = _UNSAID,
    model: object = "",
    *,
    provider: object = None,
    cached_tokens: object = None,
    cache_write_tokens: object = None,
    cache_write_1h_tokens: object = None,
    reasoning_tokens: object = None,
    duration_ms: object = None,
    status: object = _UNSAID,
    operation: object = _CHAT,
    **attribution: Unpack[CallAttribution],
) -> object:
    """Book one model call by hand; never raises.

    Without any count, duration or status there is no call to book: it then is a decorator, as
    `track_llm` with this attribution. A value that is none is left off and reported once.

    Args:
        input_tokens: input, including cached tokens; `None` if unknown.
        output_tokens: output, including reasoning; `None` if unknown.
        model: the model that answered.
        provider: who answered; `None` finds it by the model.
        cached_tokens: input served from a cache, within input.
        cache_write_tokens: input written to a cache, within input.
        cache_write_1h_tokens: of these, kept one hour.
        reasoning_tokens: reasoning, within output.
        duration_ms: how long the call took, in milliseconds; it then ended just now.
        status: "success", or anything else for a failed call.
        operation: the kind of call: `chat`, `embeddings` ...
        attribution: whom the call was made for, as in `attribution(...)`; `metadata` holds any
            further keys.
    """
    parts = (cached_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens)
    is_counted = not (input_tokens is _UNSAID and output_tokens is _UNSAID)
    if is_counted and callable(input_tokens):
        return Tracked(NOTHING, provider=None, model="")(cast("Callable[..., Any]", input_tokens))
    if not is_counted and status is _UNSAID and {*map(id, (*parts, duration_ms))} == {id(None)}:
        return _decorator(model, provider, attribution)
    if not RUNTIME.setup.recording:
        return None
    with Guard("track_cost"):
        checked = Checked("track_cost")
        counts = {
            "input_tokens": 0 if input_tokens is _UNSAID else input_tokens,
            "output_tokens": 0 if output_tokens is _UNSAID else output_tokens,
            "cached_tokens": cached_tokens,
            "cache_write_tokens": cache_write_tokens,
            "cache_write_1h_tokens": cache_write_1h_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        name, answered_by = _answering(model, provider)
        book(
            Booking(
                operation=clean(operation),
                provider=answered_by,
                model=name,
                answer=_answer(checked, counts),
                attribution=_layer(attribution),
                took_ns=checked.nanoseconds("duration_ms", duration_ms),
                failed=status not in (_UNSAID, SUCCESS),
            )
        )
    return None


def track(  # noqa: PLR0913 - one keyword per column of the row
    provider: str | None = None,
    model: str | None = "",
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    *,
    agent_id: object = None,
    feature_name: object = None,
    team_id: object = None,
    user_id: object = None,
    session_id: object = None,
    organization_id: object = None,
    project: object = None,
    status: str | None = SUCCESS,
    latency_ms: float | None = None,
    tags: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    requested_at: datetime | float | str | None = None,
    cached_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    cost_usd: Decimal | float | str | None = None,
    **any_other: object,
) -> None:
    """Book one model call, now or one of the past; never raises, never waits.

    With `requested_at`, a call booked twice with the same arguments is one row, so that a script
    may be run again; two calls that agree in everything need something that tells them apart, like
    `metadata={"call": ...}`. A value that is none is left off and reported once.

    Args:
        provider: who answered; `None` finds it by the model.
        model: the model that answered.
        input_tokens: input, including cached tokens; `None` if unknown.
        output_tokens: output, including reasoning; `None` if unknown.
        agent_id: the agent that made the call.
        feature_name: the product feature.
        team_id: the team that owns it.
        user_id: whom the call was made for.
        session_id: the session or conversation.
        organization_id: the tenant.
        project: the project the cost belongs to.
        status: "success", or anything else for a failed call.
        latency_ms: how long the call took, in milliseconds.
        tags: metadata; a key of `metadata` beats the same one here.
        metadata: further keys; a known one, as `feature`, also fills its column.
        requested_at: when the call began: a datetime (UTC if it has no zone), its ISO 8601 text, or
            seconds since 1970. `None` is just now, `latency_ms` ago.
        cached_tokens: input served from a cache, within input.
        cache_write_tokens: input written to a cache, within input.
        reasoning_tokens: reasoning, within output.
        cost_usd: what the call cost by the caller's own knowledge, in US dollars; it is kept beside
            the cost TokenLedger computes, not in its place.
        any_other: more attribution (`endpoint`, `cost_center`), or metadata, as keywords.
    """
    if not RUNTIME.setup.recording:
        return
    with Guard("track"):
        checked = Checked("track")
        counts = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_tokens": cached_tokens,
            "cache_write_tokens": cache_write_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        known = {
            "agent_id": agent_id,
            "feature": feature_name,
            "team": team_id,
            "user_id": user_id,
            "session_id": session_id,
            "organization_id": organization_id,
            "project": project,
        }
        given = {name: value for name, value in known.items() if value is not None}
        started_ns = checked.moment("requested_at", requested_at)
        name, answered_by = _answering(model, provider)
        book(
            Booking(
                operation=_CHAT,
                provider=answered_by,
                model=name,
                answer=_answer(checked, counts),
                attribution=given_layer(
                    {**any_other, **given},
                    {**_mapping("tags", tags), **_mapping("metadata", metadata)},
                ),
                started_ns=started_ns,
                took_ns=checked.nanoseconds("latency_ms", latency_ms),
                failed=status not in (None, SUCCESS),
                reported_cost=checked.dollars("cost_usd", cost_usd),
            ),
            has_stable_identity=started_ns != 0,
        )


def track_many(calls: Iterable[Mapping[str, Any]]) -> None:
    """Book several model calls, each a mapping of the arguments of `track`; never raises.

    Args:
        calls: an entry that is no mapping is reported once, and the others are booked.
    """
    with Guard("track_many"):
        for call in calls:
            with Guard("track_many(calls=)"):
                track(**call)


def _twin(function: Callable[P, None]) -> Callable[P, Coroutine[Any, Any, None]]:
    """The same for coroutines. It does not wait, unless `async_mode=False` asks for the commit."""

    async def booked(*args: P.args, **kwargs: P.kwargs) -> None:
        if RUNTIME.setup.settings.async_mode:
            function(*args, **kwargs)
            return
        asyncio: Any = importlib.import_module("asyncio")
        await asyncio.to_thread(function, *args, **kwargs)

    functools.update_wrapper(booked, function)
    booked.__name__ = booked.__qualname__ = f"a{function.__name__}"
    return booked


atrack: Final = _twin(track)
"""`track` for coroutines; it never blocks the event loop."""

atrack_many: Final = _twin(track_many)
"""`track_many` for coroutines; it never blocks the event loop."""


def _answering(model: object, provider: object) -> tuple[str, str]:
    """The model that answered, "" if it is not told, and who runs it; found by it if need be."""
    name = "" if model is None else clean(model)
    return name, provider_of(name) if provider is None else clean(provider)


def _decorator(model: object, provider: object, attribution: CallAttribution) -> Tracked:
    with Guard("track_cost"):
        given = None if provider is None else clean(provider)
        name = "" if model is None else clean(model)
        return Tracked(_layer(attribution), provider=given, model=name)
    return Tracked(NOTHING, provider=None, model="")


def _layer(attribution: CallAttribution) -> Mapping[str, str]:
    known: dict[str, object] = {**attribution}
    metadata = known.pop("metadata", None)
    return given_layer(known, metadata, "track_cost(metadata=)")


def _answer(checked: Checked, counts: Mapping[str, object]) -> dict[str, Any]:
    return dict(
        token_attributes(
            TokenVector(**{name: checked.count(name, value) for name, value in counts.items()})
        )
    )


def _mapping(name: str, value: object) -> Mapping[str, object]:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)
    report(f"track({name}=)", f"{type(value).__name__} that is no mapping")
    return NOTHING
