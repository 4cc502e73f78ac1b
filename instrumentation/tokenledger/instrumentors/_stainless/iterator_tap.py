"""Observes the items of an SDK's iterator while the app consumes them, outside of a model call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

_ITERATOR: Final = "_iterator"


def tap_iterator(answer: object, observe: Callable[[object], None]) -> bool:
    """Replace the private iterator of an SDK's stream or decoder; False if it has none.

    Args:
        answer: the object that the SDK returns to the app.
        observe: gets each item before the app does; never raises.
    """
    items: Any = getattr(answer, _ITERATOR, None)
    if items is None:
        return False
    tapped = _tapped_async if hasattr(items, "__anext__") else _tapped
    setattr(answer, _ITERATOR, tapped(items, observe))
    return True


def _tapped(items: Iterator[Any], observe: Callable[[object], None]) -> Generator[Any]:
    for item in items:
        observe(item)
        yield item


async def _tapped_async(
    items: AsyncIterator[Any], observe: Callable[[object], None]
) -> AsyncGenerator[Any]:
    async for item in items:
        observe(item)
        yield item
