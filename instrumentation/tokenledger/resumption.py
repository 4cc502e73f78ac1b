"""Attribution of generators: in force while the body runs, gone while the consumer does.

A generator shares the context of whoever resumes it, so a plain `with` around a `yield` would
attribute the consumer's calls too. The body keeps a context of its own between its resumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context

from tokenledger import carrier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from opentelemetry.context import Context

    from tokenledger.precedence import Layer


class Resumption:
    """One generator's context; entered around each step of its body."""

    __slots__ = ("_body", "_consumer", "_layer")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._body: Context | None = None
        self._consumer = context.get_current()

    def __enter__(self) -> None:
        self._consumer = context.get_current()
        if self._body is None:
            carrier.push(self, self._layer)
        else:
            context.attach(self._body)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, GeneratorExit) and not carrier.in_force(self):
            # An abandoned step, closed by the garbage collector in somebody else's context.
            return
        self._body = context.get_current()
        context.attach(self._consumer)


def under_generator(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose body runs under the layer."""

    def attributed(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        body: Generator[Any, Any, Any] = function(*args, **kwargs)
        resumption = Resumption(layer)
        step: Callable[[Any], Any] = body.send
        argument: Any = None
        while True:
            try:
                with resumption:
                    value = step(argument)
            except StopIteration as stop:
                return stop.value
            try:
                argument = yield value
                step = body.send
            except GeneratorExit:
                with resumption:
                    body.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the body, as `yield from` does
                step, argument = body.throw, error

    return attributed


def under_async_generator(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """An async generator function whose body runs under the layer."""

    async def attributed(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        body: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        resumption = Resumption(layer)
        step: Callable[[Any], Any] = body.asend
        argument: Any = None
        while True:
            try:
                with resumption:
                    value = await step(argument)
            except StopAsyncIteration:
                return
            try:
                argument = yield value
                step = body.asend
            except GeneratorExit:
                with resumption:
                    await body.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the body
                step, argument = body.athrow, error

    return attributed
