"""Another ASGI application in the same service, behind the same gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from tokenledger_exporter.web.options import DashboardOptions

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class MountedApp:
    """An application that answers a path and everything below it, with any method.

    It gets the whole path, and in its scope `gate.ORGANIZATION` and `sign_in.viewer.VIEWER`. It
    never gets a request that a page of another server sent, nor one that only a cookie identifies.

    Args:
        path: its path, such as `/mcp`.
        app: the application; it gets no lifespan messages.
        lifespan: what it needs open while the service runs; `None` for nothing.
    """

    path: str
    app: App
    lifespan: Lifespan | None = None

    def answers(self, path: str) -> bool:
        """Whether it answers a path."""
        return path == self.path or path.startswith(f"{self.path}/")


Mount: TypeAlias = Callable[[DashboardOptions], MountedApp]
"""Makes an application of the options of the service."""
