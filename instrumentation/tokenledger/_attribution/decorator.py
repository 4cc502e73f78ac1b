"""`attribution(...)` as context manager and decorator, and `wrap_any` for every decorator."""

from __future__ import annotations

import functools
import inspect
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from tokenledger._attribution import scope
from tokenledger._attribution.context import enter
from tokenledger._attribution.generators import under_async_generator, under_generator
from tokenledger._attribution.layers import layer_of
from tokenledger._guard import Guard, warn_once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tokenledger._attribution.layers import Layer

_PERSISTENT: Final = (
    "attribution(persistent=) does nothing: a stream that starts inside the block keeps its "
    "attribution, calls made after the block have none"
)
_APP: Final = (
    "attribution({}=) is stored as metadata; name the app with tokenledger.configure(app_name=)"
)

P = ParamSpec("P")
R = TypeVar("R")


def attribution(  # noqa: PLR0913 - one keyword per column that costs can be grouped by
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

    Scopes nest and merge; the inner one wins. Values become text of at most 255 characters; `None`
    means not set.

    Args:
        user_id: the user the call is made for, by the app's own id. `user`, `session`,
            `organization`, `agent` and `team_id` fill the same columns as the arguments here.
        session_id: the session or conversation.
        organization_id: the tenant.
        feature: the product feature.
        team: the team that owns the feature.
        project: the project that is charged.
        cost_center: the cost center that is charged.
        agent_id: the agent that makes the call.
        endpoint: the app's route that led to the call.
        metadata: further keys; a key named like an argument above also fills its column.
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
        if any_other:
            _check_keywords(any_other)
        return Attribution(layer_of({**known, **any_other}, metadata))
    return Attribution({})


def _check_keywords(keywords: dict[str, object]) -> None:
    """Warn of keywords that are no metadata; `persistent` of TokenLedger 0.1 is left out."""
    if isinstance(keywords.get("persistent"), bool):
        warn_once(_PERSISTENT)
        del keywords["persistent"]
    for name in ("app", "app_name"):
        if name in keywords:
            warn_once(_APP.format(name))


class Attribution:
    """A scope made by `attribution(...)`; it may be entered again, nested and shared by threads."""

    __slots__ = ("_layer",)

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        with Guard("entering attribution"):
            enter(self, self._layer)

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving attribution"):
            scope.leave(self)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function, generator or async generator function."""
        return wrap_any(function, self._layer)


class Run(Protocol):
    """Observes one run of a decorated function."""

    def __enter__(self) -> None:
        """The function's code starts."""
        ...

    def __exit__(self, *_error: object) -> None:
        """The function's code ended."""
        ...

    def see(self, result: object) -> None:
        """Read the function's result."""
        ...

    def finish(self) -> None:
        """The run is over."""
        ...

    def body(self, generator: Any) -> Any:  # noqa: ANN401 - anything with a generator's methods
        """The generator to step through in place of the function's own."""
        ...

    def async_body(self, generator: Any) -> Any:  # noqa: ANN401
        """The same for an async generator."""
        ...


class _NoObserver:
    """A run of a function that is attributed and otherwise left alone."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        return None

    def see(self, result: object) -> None:
        """Ignore the result."""

    def finish(self) -> None:
        """Do nothing."""

    def body(self, generator: Any) -> Any:  # noqa: ANN401
        """The function's own generator."""
        return generator

    async_body = body


_UNOBSERVED: Final = _NoObserver()


def _unobserved() -> Run:
    return _UNOBSERVED


def wrap_any(
    function: Callable[P, R], layer: Layer, start: Callable[[], Run] = _unobserved
) -> Callable[P, R]:
    """Run a function of any kind under a layer of attribution.

    Args:
        function: a function, coroutine function, generator or async generator function.
        layer: the attribution of its calls.
        start: makes the observer of one run.
    """
    wrapped = cast("Any", function)
    if inspect.isasyncgenfunction(function):
        wrapper = under_async_generator(
            layer, lambda *args, **kwargs: start().async_body(wrapped(*args, **kwargs))
        )
    elif inspect.isgeneratorfunction(function):
        wrapper = under_generator(
            layer, lambda *args, **kwargs: start().body(wrapped(*args, **kwargs))
        )
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(wrapped, layer, start)
    else:
        wrapper = _function(wrapped, layer, start)
    return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def _function(
    function: Callable[..., Any], layer: Layer, start: Callable[[], Run]
) -> Callable[..., Any]:
    def attributed(*args: object, **kwargs: object) -> object:
        run = start()
        with Attribution(layer):
            with run:
                result = function(*args, **kwargs)
            # A plain function may return what a function of another kind made. Checked by its
            # type: a proxy's `__class__` is the app's code, and may raise.
            kind = cast("type[object]", type(result))
            if issubclass(kind, CoroutineType):
                return _awaited(layer, run, result)
            if issubclass(kind, GeneratorType):
                return under_generator(layer, lambda: run.body(result))()
            if issubclass(kind, AsyncGeneratorType):
                return under_async_generator(layer, lambda: run.async_body(result))()
            run.see(result)
            run.finish()
            return result

    return attributed


async def _awaited(layer: Layer, run: Run, coroutine: Awaitable[object]) -> object:
    with Attribution(layer):
        with run:
            result = await coroutine
        run.see(result)
        run.finish()
    return result


def _coroutine(
    function: Callable[..., Any], layer: Layer, start: Callable[[], Run]
) -> Callable[..., Any]:
    async def attributed(*args: object, **kwargs: object) -> object:
        return await _awaited(layer, start(), function(*args, **kwargs))

    return attributed
