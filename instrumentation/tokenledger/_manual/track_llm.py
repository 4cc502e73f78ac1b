"""`track_llm`: one row for each run of a function that makes a model call.

If an instrumentor records the call, the decorator only attributes it. Otherwise the function's
result is read instead. Either way the call is one row.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from opentelemetry import context

from tokenledger._attribution import scope
from tokenledger._attribution.decorator import wrap_any
from tokenledger._attribution.layers import NOTHING, layer_of
from tokenledger._calls.meter import counted_by
from tokenledger._guard import Guard
from tokenledger._manual.manual_call import ManualCall, record_call
from tokenledger._state import RUNTIME
from tokenledger._usage.any_answer import AnswerReader
from tokenledger_semconv.attributes import RESPONSE_MODEL
from tokenledger_semconv.model_providers import provider_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping

    from tokenledger._attribution.layers import Layer

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
) -> TrackedFunction: ...


def track_llm(  # noqa: PLR0913 - the arguments of the older decorator
    function: Callable[P, R] | None = None,
    /,
    *,
    provider: str | None = None,
    model: str | None = "",
    endpoint: object = None,
    user_id: object = None,
    metadata: Mapping[str, object] | None = None,
) -> Callable[P, R] | TrackedFunction:
    """Decorate a function, coroutine function, generator or async generator with a model call.

    Calls that are recorded inside get this attribution. If none is recorded, the `usage` in the
    function's result is recorded as one call; for a generator, in the last item that has one.
    Without a `usage` no call is recorded. Exceptions pass through, and record no call.

    Args:
        function: the function to decorate, if the decorator is used without arguments.
        provider: the provider that answers; `None` derives it from the model.
        model: the model, if the answer does not name it.
        endpoint: the app's route that led to the call.
        user_id: the user the call is made for.
        metadata: further keys, like `feature` and `session_id`; a known key fills its column.
    """
    layer: Layer = NOTHING
    with Guard("reading attribution"):
        layer = layer_of(
            {"endpoint": endpoint, "user_id": user_id}, metadata, "track_llm(metadata=)"
        )
    tracked = TrackedFunction(layer, provider=provider, model=model or "")
    return tracked if function is None else tracked(function)


class TrackedFunction:
    """A decorator made by `track_llm(...)`, or by `track_cost(...)` without counts.

    Args:
        layer: the attribution of the calls.
        provider: the provider that answers; `None` derives it from the model.
        model: the model, if the answer does not name it.
    """

    __slots__ = ("layer", "model", "provider")

    def __init__(self, layer: Layer, *, provider: str | None, model: str) -> None:
        self.layer = layer
        self.provider = provider
        self.model = model

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function of any kind."""
        return wrap_any(function, self.layer, lambda: _Run(self))


def _is_recorded_elsewhere(result: object) -> bool:
    """Whether a patched SDK made this result: its call has, or will have, a row of its own."""
    return RUNTIME.is_instrumented(type(result).__module__.partition(".")[0])


class _Run:
    """One run of a decorated function: notes whether a call was recorded inside.

    It is one of the meters of its context. If no call was recorded, it records what it read.
    """

    __slots__ = ("_answers", "_is_recorded", "_started_ns", "_tracked")

    def __init__(self, tracked: TrackedFunction) -> None:
        self._tracked = tracked
        self._is_recorded = False
        self._started_ns = time.time_ns()
        self._answers = AnswerReader(is_anthropic=tracked.provider == "anthropic")

    def add(self, _attributes: object, _start_ns: int, _failed: bool) -> None:
        """As a meter: a call was recorded."""
        self._is_recorded = True

    def __enter__(self) -> None:
        with Guard("entering a tracked function"):
            scope.enter(self, counted_by(self, context.get_current()))

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving a tracked function"):
            scope.leave(self)

    def see(self, result: object) -> None:
        """Read a result of the function."""
        if self._is_recorded:
            return
        with Guard("reading a tracked function's result"):
            if not _is_recorded_elsewhere(result):
                self._answers.see(result)

    def finish(self) -> None:
        """Record what was read, once, unless a call was recorded."""
        if self._is_recorded or not RUNTIME.setup.recording:
            return
        self._is_recorded = True
        with Guard("recording a tracked function's result"):
            operation, usage = self._answers.call()
            if not usage:
                return
            model = str(usage.get(RESPONSE_MODEL) or self._tracked.model)
            provider = self._tracked.provider
            record_call(
                ManualCall(
                    operation=operation,
                    provider=provider_of(model) if provider is None else str(provider),
                    model=model,
                    usage=usage,
                    started_ns=self._started_ns,
                    duration_ns=max(0, time.time_ns() - self._started_ns),
                )
            )

    def body(self, generator: Generator[Any, Any, Any]) -> _Body:
        """The generator, with each of its items read."""
        return _Body(self, generator)

    def async_body(self, generator: AsyncGenerator[Any, Any]) -> _AsyncBody:
        """The async generator, with each of its items read."""
        return _AsyncBody(self, generator)


class _Body:
    """A generator whose items are read; `generators` keeps its context between the steps."""

    __slots__ = ("_generator", "_is_entered", "_run")

    def __init__(self, run: _Run, generator: Generator[Any, Any, Any]) -> None:
        self._run = run
        self._generator = generator
        self._is_entered = False

    def send(self, value: object) -> object:
        return self._step(self._generator.send, value)

    def throw(self, error: BaseException) -> object:
        return self._step(self._generator.throw, error)

    def close(self) -> None:
        try:
            self._generator.close()
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
    """The same for an async generator."""

    __slots__ = ("_generator", "_is_entered", "_run")

    def __init__(self, run: _Run, generator: AsyncGenerator[Any, Any]) -> None:
        self._run = run
        self._generator = generator
        self._is_entered = False

    async def asend(self, value: object) -> object:
        return await self._step(self._generator.asend, value)

    async def athrow(self, error: BaseException) -> object:
        return await self._step(self._generator.athrow, error)

    async def aclose(self) -> None:
        try:
            await self._generator.aclose()
        finally:
            self._run.finish()

    async def _step(self, step: Callable[[Any], Awaitable[Any]], argument: object) -> object:
        if not self._is_entered:
            self._is_entered = True
            self._run.__enter__()
        try:
            value = await step(argument)
        except GeneratorExit:
            # An abandoned step: it may be closed in an unrelated context.
            raise
        except BaseException:
            self._run.finish()
            raise
        self._run.see(value)
        return value
