"""Hearing what an SDK's own iterator yields on its way to the app, where that is no call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

_ITERATOR: Final = "_iterator"


def overhear(answer: object, hear: Callable[[object], None]) -> bool:
    """Swap the private iterator of an SDK's stream or decoder; False if it has none.

    Args:
        answer: what the SDK hands to the app.
        hear: takes each item before the app does; never raises.
    """
    items: Any = getattr(answer, _ITERATOR, None)
    if items is None:
        return False
    passing = _heard_async if hasattr(items, "__anext__") else _heard
    setattr(answer, _ITERATOR, passing(items, hear))
    return True


def _heard(items: Iterator[Any], hear: Callable[[object], None]) -> Generator[Any]:
    for item in items:
        hear(item)
        yield item


async def _heard_async(
    items: AsyncIterator[Any], hear: Callable[[object], None]
) -> AsyncGenerator[Any]:
    async for item in items:
        hear(item)
        yield item
