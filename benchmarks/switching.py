"""Puts an instrumentation on and off many times, whether it knows how to be taken off or not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SDKS: Final = ("openai", "anthropic")
_NOTHING: Final = object()


class Switch:
    """What turning on an instrumentation put into the SDKs' modules and classes.

    Every SDK module whose calls are measured must have been loaded before. It is off at first.

    Args:
        turn_on: turns it on, once.

    Raises:
        LookupError: if that changed nothing.
    """

    def __init__(self, turn_on: Callable[[], None]) -> None:
        before = _attributes()
        owners = {owner for owner, _ in before}
        turn_on()
        self._changes: list[tuple[Any, str, object, object]] = []
        for (owner_id, name), (owner, value) in _attributes().items():
            _, old = before.get((owner_id, name), (owner, _NOTHING))
            # A name that is new in a module is an import, one that is new in a class is a patch.
            known = old is not _NOTHING or isinstance(owner, type)
            if value is not old and known and owner_id in owners:
                self._changes.append((owner, name, old, value))
        if not self._changes:
            raise LookupError("it changed nothing in the SDKs")
        self.off()

    def on(self) -> None:
        """Put everything in."""
        for owner, name, _, new in self._changes:
            setattr(owner, name, new)

    def off(self) -> None:
        """Put back what was there."""
        for owner, name, old, _ in self._changes:
            if old is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)


def _attributes() -> dict[tuple[int, str], tuple[Any, object]]:
    """What the SDKs' modules and classes hold: owner and value, by the owner's id and the name."""
    owners: dict[int, Any] = {}
    for module_name, module in list(sys.modules.items()):
        if _of_an_sdk(module_name):
            named: Iterator[Any] = filter(_is_class, vars(module).values())
            owners.update({id(owner): owner for owner in (module, *named)})
    found: dict[tuple[int, str], tuple[Any, object]] = {}
    for key, owner in owners.items():
        found.update({(key, name): (owner, held) for name, held in _held(owner)})
    return found


def _held(owner: object) -> list[tuple[str, object]]:
    return list(vars(owner).items())


def _is_class(value: object) -> bool:
    # `isinstance` would ask openai's lazy objects for their class, and they would load.
    return issubclass(type(value), type) and _of_an_sdk(str(getattr(value, "__module__", "")))


def _of_an_sdk(module: str) -> bool:
    return module.partition(".")[0] in _SDKS
