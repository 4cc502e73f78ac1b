"""`track_llm`: one row for each run of a function that makes a model call.

Where an instrumentor sees the call, the decorator only says whom it is for. Where none does, what
the function returns is read instead. Either way the call is one row.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from opentelemetry import context

from tokenledger import stretches
from tokenledger.answers import Answers
from tokenledger.attributing import Attribution
from tokenledger.booking import Booking, book
from tokenledger.failures import Guard
from tokenledger.metering import counted_by
from tokenledger.precedence import NOTHING, given_layer
from tokenledger.resumption import under_async_generator, under_generator
from tokenledger.runtime import RUNTIME
from tokenledger_semconv.attributes import RESPONSE_MODEL
from tokenledger_semconv.families import provider_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping

    from tokenledger.instrumentors.exchange import Api
    from tokenledger.precedence import Layer

P = ParamSpec("P")
R = TypeVar("R")


@overload
def track_llm(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def track_llm(
    *,
    provider: str | None = None,
    model: str | None = "",
    endpoint: object = None,
    user_id: object = None,
    metadata: Mapping[str, object] | None = None,
) -> Tracked: ...


def track_llm(  # noqa: PLR0913 - the arguments of the older decorator
    function: Callable[P, R] | None = None,
    /,
    *,
    provider: str | None = None,
    model: str | None = "",
    endpoint: object = None,
    user_id: object = None,
    metadata: Mapping[str, object] | None = None,
) -> Callable[P, R] | Tracked:
    """Decorate a function, coroutine function, generator or async generator with a model call.

    Calls that are recorded inside get this attribution. If none was, the `usage` of what the
    function returns (for a generator: of the last it yields that has one) is booked as one call;
    without a `usage` there is nothing to book. Exceptions pass through, and book nothing.

    Args:
        function: what to decorate, where the decorator stands without arguments.
        provider: who answers; `None` finds it by the model.
        model: the model, where the answer does not say.
        endpoint: the app's route that led to the call.
        user_id: whom the call is made for.
        metadata: further keys, like `feature` and `session_id`; a known one fills its column.
    """
    layer: Layer = NOTHING
    with Guard("reading attribution"):
        layer = given_layer(
            {"endpoint": endpoint, "user_id": user_id}, metadata, "track_llm(metadata=)"
        )
    tracked = Tracked(layer, provider=provider, model=model or "")
    return tracked if function is None else tracked(function)


class Tracked:
    """A decorator made by `track_llm(...)` or by `track_cost(...)` without counts.

    Args:
        layer: whom the calls are made for.
        provider: who answers; `None` finds it by the model.
        model: the model, where the answer does not say.
    """

    __slots__ = ("layer", "model", "provider")

    def __init__(self, layer: Layer, *, provider: str | None, model: str) -> None:
        self.layer = layer
        self.provider = provider
        self.model = model

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function of any kind."""
        return cast("Callable[P, R]", _decorated(self, cast("Any", function)))


def _is_recorded_elsewhere(result: object) -> bool:
    """Whether a patched SDK made this: its call has, or will have, a row of its own."""
    sdk = type(result).__module__.partition(".")[0]
    room = sys.modules.get(f"tokenledger.instrumentors.{sdk}")
    api: Api | None = getattr(room, "API", None)
    return api is not None and api.is_recorded


class _Run:
    """One run of a decorated function: notes whether a call was recorded inside.

    It stands among the meters of its context, and books what it saw if none was.
    """

    __slots__ = ("_answers", "_is_recorded", "_started_ns", "_tracked")

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked
        self._is_recorded = False
        self._started_ns = time.time_ns()
        self._answers = Answers(is_anthropic=tracked.provider == "anthropic")

    def add(self, _told: object, _start_ns: int, _failed: bool) -> None:
        """As a meter: a call was recorded."""
        self._is_recorded = True

    def __enter__(self) -> None:
        with Guard("entering a tracked function"):
            stretches.enter(self, counted_by(self, context.get_current()))

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving a tracked function"):
            stretches.leave(self)

    def see(self, result: object) -> None:
        """Note something the function gave."""
        if self._is_recorded:
            return
        with Guard("reading a tracked function's result"):
            if not _is_recorded_elsewhere(result):
                self._answers.see(result)

    def finish(self) -> None:
        """Book what was seen, once, unless a call was recorded."""
        if self._is_recorded or not RUNTIME.setup.recording:
            return
        self._is_recorded = True
        with Guard("booking a tracked function's result"):
            operation, found = self._answers.found()
            if not found:
                return
            model = str(found.get(RESPONSE_MODEL) or self._tracked.model)
            provider = self._tracked.provider
            book(
                Booking(
                    operation=operation,
                    provider=provider_of(model) if provider is None else str(provider),
                    model=model,
                    answer=found,
                    started_ns=self._started_ns,
                    took_ns=max(0, time.time_ns() - self._started_ns),
                )
            )


def _decorated(tracked: Tracked, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        wrapper = under_async_generator(tracked.layer, _async_body(tracked, function))
    elif inspect.isgeneratorfunction(function):
        wrapper = under_generator(tracked.layer, _body(tracked, function))
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(tracked, function)
    else:
        wrapper = _function(tracked, function)
    return functools.wraps(function)(wrapper)


def _function(tracked: Tracked, function: Callable[..., Any]) -> Callable[..., Any]:
    def run_tracked(*args: object, **kwargs: object) -> object:
        run = _Run(tracked)
        with Attribution(tracked.layer):
            with run:
                result = function(*args, **kwargs)
            # A plain function may hand out what a function of another kind made.
            # By its type: a proxy's `__class__` is the app's code, and may raise.
            kind = cast("type[object]", type(result))
            if issubclass(kind, CoroutineType):
                return _awaited(tracked, run, result)
            if issubclass(kind, GeneratorType):
                return under_generator(tracked.layer, lambda: _Body(run, result))()
            if issubclass(kind, AsyncGeneratorType):
                return under_async_generator(tracked.layer, lambda: _AsyncBody(run, result))()
            run.see(result)
            run.finish()
            return result

    return run_tracked


async def _awaited(tracked: Tracked, run: _Run, coroutine: Awaitable[object]) -> object:
    with Attribution(tracked.layer):
        with run:
            result = await coroutine
        run.see(result)
        run.finish()
    return result


def _coroutine(tracked: Tracked, function: Callable[..., Any]) -> Callable[..., Any]:
    async def run_tracked(*args: object, **kwargs: object) -> object:
        return await _awaited(tracked, _Run(tracked), function(*args, **kwargs))

    return run_tracked


def _body(tracked: Tracked, function: Callable[..., Any]) -> Callable[..., _Body]:
    return lambda *args, **kwargs: _Body(_Run(tracked), function(*args, **kwargs))


def _async_body(tracked: Tracked, function: Callable[..., Any]) -> Callable[..., _AsyncBody]:
    return lambda *args, **kwargs: _AsyncBody(_Run(tracked), function(*args, **kwargs))


class _Body:
    """A generator's body, looked at as it yields; `resumption` keeps its context between steps."""

    __slots__ = ("_body", "_is_entered", "_run")

    def __init__(self, run: _Run, body: Generator[Any, Any, Any]) -> None:
        self._run = run
        self._body = body
        self._is_entered = False

    def send(self, value: object) -> object:
        return self._step(self._body.send, value)

    def throw(self, error: BaseException) -> object:
        return self._step(self._body.throw, error)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._run.finish()

    def _step(self, step: Callable[[Any], Any], argument: object) -> object:
        if not self._is_entered:
            self._is_entered = True
            self._run.__enter__()
        try:
            value = step(argument)
        except StopIteration as stop:
            self._run.see(stop.value)
            self._run.finish()
            raise
        except BaseException:
            self._run.finish()
            raise
        self._run.see(value)
        return value


class _AsyncBody:
    """The same of an async generator."""

    __slots__ = ("_body", "_is_entered", "_run")

    def __init__(self, run: _Run, body: AsyncGenerator[Any, Any]) -> None:
        self._run = run
        self._body = body
        self._is_entered = False

    async def asend(self, value: object) -> object:
        return await self._step(self._body.asend, value)

    async def athrow(self, error: BaseException) -> object:
        return await self._step(self._body.athrow, error)

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._run.finish()

    async def _step(self, step: Callable[[Any], Awaitable[Any]], argument: object) -> object:
        if not self._is_entered:
            self._is_entered = True
            self._run.__enter__()
        try:
            value = await step(argument)
        except GeneratorExit:
            # A step that was thrown away: it may be closed in somebody else's context.
            raise
        except BaseException:
            self._run.finish()
            raise
        self._run.see(value)
        return value
