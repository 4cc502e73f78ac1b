"""One table of what is wrapped, walked when it is wrapped and when it is put back."""

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

from tokenledger.failures import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from tokenledger.tracing import CallTracer

Method = Callable[..., Any]
"""A method of an SDK's class, called with its instance first."""


class Host(Protocol):
    """The instrumentor a wrapper belongs to."""

    @property
    def tracer(self) -> CallTracer | None:
        """Starts its calls; `None` while nothing is to be recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Patch:
    """One line of the table.

    Args:
        module: where the class is defined.
        owner: the class.
        method: the method that is wrapped.
        around: makes the function that takes the method's place.
        optional: not every supported release of the SDK has it.
    """

    module: str
    owner: str
    method: str
    around: Callable[[Host, Method], Method]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Applied:
    """A line in force: what stood there before us, and what stands there now."""

    owner: type
    original: object
    wrapped: object


class Patches:
    """A table and which of its lines are in force.

    A module is wrapped when it is imported, so that instrumenting an SDK does not load the parts of
    it that an app never uses.
    """

    def __init__(self, table: Sequence[Patch]) -> None:
        self._table = table
        self._applied: dict[Patch, _Applied] = {}
        # Those in use alone: an app that patches for each job must not gather them.
        self._made: WeakSet[Method] = WeakSet()
        self._host: Host | None = None
        self._lock = Lock()

    def apply(self, host: Host) -> None:
        """Bring every line into force that is not yet."""
        self._host = host
        wrapt: Any = importlib.import_module("wrapt")
        for patch in self._table:
            wrapt.register_post_import_hook(partial(self._apply_one, patch), patch.module)

    @property
    def are_in_force(self) -> bool:
        """Whether calls are recorded, or will be once the SDK is imported."""
        return self._host is not None

    def remove(self) -> None:
        """Put back what stood there, except where somebody else wrapped ours since."""
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
            # Not by getattr: newer SDKs would import what the app has not asked for.
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
            self._applied[patch] = _Applied(owner, original, wrapped)
            self._made.add(wrapped)

    def _is_ours(self, standing: object) -> bool:
        """Whether one of our wrappers stands there still, below somebody else's."""
        while standing is not None:
            # A proxy of another tool may equal what it wraps: only our own functions are ours.
            if type(standing) is FunctionType and standing in self._made:
                return True
            standing = getattr(standing, "__wrapped__", None)
        return False


def _method(standing: Any) -> Method:  # noqa: ANN401 - a function, or what another tool put there
    """What stands at a class's name, to be called with the instance first."""
    # By its real type: a wrapt proxy says it is a function, and must be bound like a method.
    if type(standing) is FunctionType:
        return standing

    def bound(instance: object, *args: object, **kwargs: object) -> object:
        return standing.__get__(instance, type(instance))(*args, **kwargs)

    async def async_bound(instance: object, *args: object, **kwargs: object) -> object:
        return await standing.__get__(instance, type(instance))(*args, **kwargs)

    return async_bound if inspect.iscoroutinefunction(standing) else bound
