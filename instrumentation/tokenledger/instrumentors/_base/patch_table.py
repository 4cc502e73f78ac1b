"""The table of patched methods, walked both to apply the patches and to remove them."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from tokenledger._guard import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from tokenledger._calls.tracer import CallTracer

Method = Callable[..., Any]
"""A method of an SDK's class, called with its instance first."""


class Host(Protocol):
    """The instrumentor a wrapper belongs to."""

    @property
    def tracer(self) -> CallTracer | None:
        """Starts its calls; `None` while nothing is recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Patch:
    """One row of the table.

    Args:
        module: where the class is defined.
        owner: the class.
        method: the method that is wrapped.
        around: makes the function that takes the method's place.
        optional: whether supported releases of the SDK may lack it.
    """

    module: str
    owner: str
    method: str
    around: Callable[[Host, Method], Method]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _AppliedPatch:
    """An applied row: the original method, and our wrapper in its place."""

    owner: type
    original: object
    wrapped: object


class Patches:
    """A table, and which of its rows are applied.

    A module is patched when it is imported, so instrumenting an SDK does not load parts of it that
    the app never uses.
    """

    def __init__(self, table: Sequence[Patch]) -> None:
        self._table = table
        self._applied: dict[Patch, _AppliedPatch] = {}
        # Weak: an app that patches and unpatches for each job must not accumulate wrappers.
        self._wrappers: WeakSet[Method] = WeakSet()
        self._host: Host | None = None
        self._lock = Lock()

    def apply(self, host: Host) -> None:
        """Apply every row that is not applied yet."""
        self._host = host
        wrapt: Any = importlib.import_module("wrapt")
        for patch in self._table:
            wrapt.register_post_import_hook(partial(self._apply_one, patch), patch.module)

    @property
    def are_in_force(self) -> bool:
        """Whether calls are recorded, or will be once the SDK is imported."""
        return self._host is not None

    def remove(self) -> None:
        """Restore the originals, except where another tool has wrapped our wrapper since."""
        with self._lock:
            self._host = None
            for patch, applied in self._applied.items():
                if vars(applied.owner).get(patch.method) is applied.wrapped:
                    setattr(applied.owner, patch.method, applied.original)
            self._applied.clear()

    def _apply_one(self, patch: Patch, module: ModuleType) -> None:
        with self._lock, Guard(f"wrapping {patch.module}.{patch.owner}.{patch.method}"):
            if self._host is None or patch in self._applied:
                return
            # Not by getattr: newer SDKs would import modules that the app does not use.
            owner: type | None = vars(module).get(patch.owner)
            original = vars(owner).get(patch.method) if owner is not None else None
            if patch.optional and original is None:
                return
            if owner is None or original is None:
                raise AttributeError(f"{patch.owner}.{patch.method}")
            if self._is_ours(original):
                return
            wrapped = functools.wraps(original)(patch.around(self._host, _method(original)))
            setattr(owner, patch.method, wrapped)
            self._applied[patch] = _AppliedPatch(owner, original, wrapped)
            self._wrappers.add(wrapped)

    def _is_ours(self, method: object) -> bool:
        """Whether one of our wrappers is still in place, perhaps below another tool's."""
        while method is not None:
            # Another tool's proxy may equal the function it wraps, so the type is checked first.
            if type(method) is FunctionType and method in self._wrappers:
                return True
            method = getattr(method, "__wrapped__", None)
        return False


def _method(attribute: Any) -> Method:  # noqa: ANN401 - a function, or another tool's wrapper
    """A class attribute as a function that takes the instance first."""
    # The real type: a wrapt proxy claims to be a function, but must be bound like a method.
    if type(attribute) is FunctionType:
        return attribute

    def bound(instance: object, *args: object, **kwargs: object) -> object:
        return attribute.__get__(instance, type(instance))(*args, **kwargs)

    async def async_bound(instance: object, *args: object, **kwargs: object) -> object:
        return await attribute.__get__(instance, type(instance))(*args, **kwargs)

    return async_bound if inspect.iscoroutinefunction(attribute) else bound
