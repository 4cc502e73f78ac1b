"""Records a call that no instrumentor sees: `track_cost` and, with older argument names, `track`.

Both make the same kind of span as an instrumentor, so their rows are priced and grouped alike.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypedDict, TypeVar, cast, overload

from tokenledger._attribution.layers import NOTHING, clean, layer_of
from tokenledger._guard import Guard, report_invalid
from tokenledger._manual.manual_call import SUCCESS, ArgumentValidator, ManualCall, record_call
from tokenledger._manual.track_llm import TrackedFunction
from tokenledger._state import RUNTIME
from tokenledger._usage.fields import token_attributes
from tokenledger_semconv.attributes import UNKNOWN_USAGE
from tokenledger_semconv.model_providers import provider_of
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime
    from decimal import Decimal

    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")

_UNSET: Final[Any] = object()
_CHAT: Final = "chat"


class CallAttribution(TypedDict, total=False):
    """The attribution that `track_cost` accepts; each key as in `attribution`."""

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
) -> TrackedFunction: ...


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
    input_tokens: object = _UNSET,
    output_tokens: object = _UNSET,
    model: object = "",
    *,
    provider: object = None,
    cached_tokens: object = None,
    cache_write_tokens: object = None,
    cache_write_1h_tokens: object = None,
    reasoning_tokens: object = None,
    duration_ms: object = None,
    status: object = _UNSET,
    operation: object = _CHAT,
    **attribution: Unpack[CallAttribution],
) -> object:
    """Record one model call; never raises.

    Without any count, duration or status there is no call to record: the result is then a
    decorator, like `track_llm` with this attribution. An invalid value is left out and reported
    once.

    Args:
        input_tokens: input, including cached tokens; `None` if unknown.
        output_tokens: output, including reasoning; `None` if unknown.
        model: the model that answered.
        provider: the provider that answered; `None` derives it from the model.
        cached_tokens: the part of the input that was read from a cache.
        cache_write_tokens: the part of the input that was written to a cache.
        cache_write_1h_tokens: the part of these writes that is stored for one hour.
        reasoning_tokens: the part of the output that is reasoning.
        duration_ms: how long the call took, in milliseconds; it ended just now.
        status: "success"; anything else means that the call failed.
        operation: the kind of call: `chat`, `embeddings` ...
        attribution: as in `attribution(...)`; `metadata` holds further keys.
    """
    parts = (cached_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens)
    is_counted = not (input_tokens is _UNSET and output_tokens is _UNSET)
    if is_counted and callable(input_tokens):
        return TrackedFunction(NOTHING, provider=None, model="")(
            cast("Callable[..., Any]", input_tokens)
        )
    if not is_counted and status is _UNSET and {*map(id, (*parts, duration_ms))} == {id(None)}:
        return _decorator(model, provider, attribution)
    if not RUNTIME.setup.recording:
        return None
    with Guard("track_cost"):
        checked = ArgumentValidator("track_cost")
        counts = {
            "input_tokens": 0 if input_tokens is _UNSET else input_tokens,
            "output_tokens": 0 if output_tokens is _UNSET else output_tokens,
            "cached_tokens": cached_tokens,
            "cache_write_tokens": cache_write_tokens,
            "cache_write_1h_tokens": cache_write_1h_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        name, provider_name = _model_and_provider(model, provider)
        record_call(
            ManualCall(
                operation=clean(operation),
                provider=provider_name,
                model=name,
                usage=_usage(checked, counts),
                attribution=_layer(attribution),
                duration_ns=checked.nanoseconds("duration_ms", duration_ms),
                failed=status not in (_UNSET, SUCCESS),
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
    """Record one model call, a current or a past one; never raises, never waits.

    With `requested_at`, a call recorded twice with the same arguments is one row, so a script may
    run again. Two calls with equal arguments need a difference, like `metadata={"call": ...}`. An
    invalid value is left out and reported once.

    Args:
        provider: the provider that answered; `None` derives it from the model.
        model: the model that answered.
        input_tokens: input, including cached tokens; `None` if unknown.
        output_tokens: output, including reasoning; `None` if unknown.
        agent_id: the agent that made the call.
        feature_name: the product feature.
        team_id: the team that owns the feature.
        user_id: the user the call was made for.
        session_id: the session or conversation.
        organization_id: the tenant.
        project: the project that is charged.
        status: "success"; anything else means that the call failed.
        latency_ms: how long the call took, in milliseconds.
        tags: metadata; the same key in `metadata` wins.
        metadata: further keys; a known one, like `feature`, also fills its column.
        requested_at: when the call began: a datetime (UTC if it has no zone), its ISO 8601 text, or
            seconds since 1970. `None` means that the call ended just now.
        cached_tokens: the part of the input that was read from a cache.
        cache_write_tokens: the part of the input that was written to a cache.
        reasoning_tokens: the part of the output that is reasoning.
        cost_usd: the cost that the caller knows, in US dollars; it is stored in addition to the
            cost that TokenLedger computes.
        any_other: more attribution (`endpoint`, `cost_center`), or metadata, as keywords.
    """
    if not RUNTIME.setup.recording:
        return
    with Guard("track"):
        checked = ArgumentValidator("track")
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
        keywords = {name: value for name, value in known.items() if value is not None}
        started_ns = checked.timestamp("requested_at", requested_at)
        name, provider_name = _model_and_provider(model, provider)
        record_call(
            ManualCall(
                operation=_CHAT,
                provider=provider_name,
                model=name,
                usage=_usage(checked, counts),
                attribution=layer_of(
                    {**any_other, **keywords},
                    {**_mapping("tags", tags), **_mapping("metadata", metadata)},
                ),
                started_ns=started_ns,
                duration_ns=checked.nanoseconds("latency_ms", latency_ms),
                failed=status not in (None, SUCCESS),
                reported_cost=checked.dollars("cost_usd", cost_usd),
            ),
            has_stable_identity=started_ns != 0,
        )


def track_many(calls: Iterable[Mapping[str, Any]]) -> None:
    """Record several model calls, each a mapping of the arguments of `track`; never raises.

    Args:
        calls: the calls; an entry that is not a mapping is reported once and skipped.
    """
    with Guard("track_many"):
        for call in calls:
            with Guard("track_many(calls=)"):
                track(**call)


def _for_coroutines(function: Callable[P, None]) -> Callable[P, Coroutine[Any, Any, None]]:
    """The same for coroutines. It waits only if `async_mode=False` asks for the commit."""

    async def record(*args: P.args, **kwargs: P.kwargs) -> None:
        if RUNTIME.setup.settings.async_mode:
            function(*args, **kwargs)
            return
        # Loaded here: an app without an event loop does not need it.
        import asyncio

        await asyncio.to_thread(function, *args, **kwargs)

    functools.update_wrapper(record, function)
    record.__name__ = record.__qualname__ = f"a{function.__name__}"
    return record


atrack: Final = _for_coroutines(track)
"""`track` for coroutines; it never blocks the event loop."""

atrack_many: Final = _for_coroutines(track_many)
"""`track_many` for coroutines; it never blocks the event loop."""


def _model_and_provider(model: object, provider: object) -> tuple[str, str]:
    """The model, "" if unknown, and its provider, derived from the model if not given."""
    name = "" if model is None else clean(model)
    return name, provider_of(name) if provider is None else clean(provider)


def _decorator(model: object, provider: object, attribution: CallAttribution) -> TrackedFunction:
    with Guard("track_cost"):
        provider_name = None if provider is None else clean(provider)
        name = "" if model is None else clean(model)
        return TrackedFunction(_layer(attribution), provider=provider_name, model=name)
    return TrackedFunction(NOTHING, provider=None, model="")


def _layer(attribution: CallAttribution) -> Mapping[str, str]:
    known: dict[str, object] = {**attribution}
    metadata = known.pop("metadata", None)
    return layer_of(known, metadata, "track_cost(metadata=)")


def _usage(checked: ArgumentValidator, counts: Mapping[str, object]) -> dict[str, Any]:
    usage: dict[str, Any] = dict(
        token_attributes(
            TokenVector(**{name: checked.count(name, value) for name, value in counts.items()})
        )
    )
    if checked.refused:
        names = ", ".join(checked.refused)
        usage[UNKNOWN_USAGE] = f"{names}: the value is not what this argument takes"
    return usage


def _mapping(name: str, value: object) -> Mapping[str, object]:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)
    problem = f"it must be a mapping; its type is {type(value).__name__}"
    report_invalid(f"track({name}=)", problem)
    return NOTHING
