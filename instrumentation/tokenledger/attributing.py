"""`attribution(...)`: whom the calls inside are made for, as context manager and decorator."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from tokenledger import carrier
from tokenledger.failures import Guard
from tokenledger.precedence import given_layer
from tokenledger.resumption import under_async_generator, under_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from tokenledger.precedence import Layer

P = ParamSpec("P")
R = TypeVar("R")


def attribution(  # noqa: PLR0913 - one keyword per column a cost can be grouped by
    *,
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
    **any_other: object,
) -> Attribution:
    """Attribute every model call made inside a `with` block or a decorated function.

    Scopes nest and merge, the inner one wins. Values become text of at most 255 characters; `None`
    means not given.

    Args:
        user_id: whom the call is made for, in the app's own ids.
        session_id: the session or conversation.
        organization_id: the tenant.
        feature: the product feature.
        team: the team that owns it.
        project: the project the cost belongs to.
        cost_center: the cost centre the cost belongs to.
        agent_id: the agent that makes the call.
        endpoint: the app's route that led to the call.
        metadata: further keys; one of the names above also fills its column.
        any_other: more metadata, as keywords.
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
    with Guard("reading attribution"):
        return Attribution(given_layer({**known, **any_other}, metadata))
    return Attribution({})


class Attribution:
    """A scope made by `attribution(...)`; it may be entered again, nested and shared by threads."""

    __slots__ = ("_layer",)

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        with Guard("entering attribution"):
            carrier.push(self, self._layer)

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving attribution"):
            carrier.pop(self)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function, generator or async generator function."""
        return cast("Callable[P, R]", _decorated(self._layer, cast("Any", function)))


def _decorated(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        wrapper = under_async_generator(layer, function)
    elif inspect.isgeneratorfunction(function):
        wrapper = under_generator(layer, function)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(layer, function)
    else:
        wrapper = _function(layer, function)
    return functools.wraps(function)(wrapper)


def _function(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    def attributed(*args: object, **kwargs: object) -> object:
        with Attribution(layer):
            result = function(*args, **kwargs)
        # A plain function may hand out what a function of another kind made.
        if inspect.iscoroutine(result):
            return _awaited(layer, result)
        if inspect.isgenerator(result):
            return under_generator(layer, lambda: result)()
        if inspect.isasyncgen(result):
            return under_async_generator(layer, lambda: result)()
        return result

    return attributed


async def _awaited(layer: Layer, coroutine: Coroutine[Any, Any, object]) -> object:
    with Attribution(layer):
        return await coroutine


def _coroutine(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    async def attributed(*args: object, **kwargs: object) -> object:
        with Attribution(layer):
            return await function(*args, **kwargs)

    return attributed
