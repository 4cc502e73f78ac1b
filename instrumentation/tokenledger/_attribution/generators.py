"""Attribution in generators: it applies while the body runs, not while the consumer runs.

A generator runs in the context of its consumer, so a plain `with` around a `yield` would attribute
the consumer's calls too. The body keeps a context of its own between its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context

from tokenledger._attribution import scope
from tokenledger._attribution.context import enter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from opentelemetry.context import Context

    from tokenledger._attribution.layers import Layer


class BodyContext:
    """The context of one generator's body; entered around each of its steps."""

    __slots__ = ("_body", "_consumer", "_layer")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._body: Context | None = None
        self._consumer = context.get_current()

    def __enter__(self) -> None:
        self._consumer = context.get_current()
        if self._body is None:
            enter(self, self._layer)
        else:
            context.attach(self._body)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, GeneratorExit) and not scope.is_active(self):
            # An abandoned step, closed by the garbage collector in an unrelated context.
            return
        self._body = context.get_current()
        context.attach(self._consumer)


def under_generator(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose body runs under the layer."""

    def attributed(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        body: Generator[Any, Any, Any] = function(*args, **kwargs)
        body_context = BodyContext(layer)
        step: Callable[[Any], Any] = body.send
        argument: Any = None
        while True:
            try:
                with body_context:
                    value = step(argument)
            except StopIteration as stop:
                return stop.value
            try:
                argument = yield value
                step = body.send
            except GeneratorExit:
                with body_context:
                    body.close()
                raise
            except BaseException as error:  # noqa: BLE001 - passed to the body, like `yield from`
                step, argument = body.throw, error

    return attributed


def under_async_generator(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """An async generator function whose body runs under the layer."""

    async def attributed(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        body: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        body_context = BodyContext(layer)
        step: Callable[[Any], Any] = body.asend
        argument: Any = None
        while True:
            try:
                with body_context:
                    value = await step(argument)
            except StopAsyncIteration:
                return
            try:
                argument = yield value
                step = body.asend
            except GeneratorExit:
                with body_context:
                    await body.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - passed to the body
                step, argument = body.athrow, error

    return attributed
