"""Loading OpenTelemetry where the environment names a package that is not installed.

`opentelemetry.propagate` loads the propagators that OTEL_PROPAGATORS names when it is imported, and
raises if one is missing. The base class of every instrumentor imports it, so no call would be
recorded. A tracer provider that cannot be loaded raises, and logs a traceback, each time it is
requested.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from tokenledger._guard import report

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_PROPAGATE: Final = "opentelemetry.propagate"
_PROPAGATORS_VARIABLE: Final = "OTEL_PROPAGATORS"
# OpenTelemetry's own default (its environment variable specification, read 2026-11-28).
_DEFAULT_PROPAGATORS: Final = "tracecontext,baggage"


def load_propagators() -> None:
    """Import OpenTelemetry's propagation; use its default if the app's cannot be loaded."""
    if _PROPAGATE in sys.modules:
        return
    try:
        importlib.import_module(_PROPAGATE)
    except Exception as error:
        named = os.environ.get(_PROPAGATORS_VARIABLE)
        if named is None:
            raise
        report("loading the propagators of OTEL_PROPAGATORS", type(error).__name__)
        os.environ[_PROPAGATORS_VARIABLE] = _DEFAULT_PROPAGATORS
        try:
            importlib.import_module(_PROPAGATE)
        finally:
            os.environ[_PROPAGATORS_VARIABLE] = named


class AppProvider:
    """The app's global tracer provider. One that cannot be loaded is requested only once."""

    def __init__(self) -> None:
        self._proxy = ProxyTracerProvider()
        self._is_unloadable = False

    def get(self) -> TracerProvider:
        """The global provider; if it cannot be loaded, a proxy for what the app sets later."""
        if not self._is_unloadable:
            try:
                return get_tracer_provider()
            except Exception as error:  # noqa: BLE001 - whatever the named provider's package raises
                return self.note_unloadable(error)
        return self._proxy

    def note_unloadable(self, error: Exception) -> TracerProvider:
        """Remember that the provider cannot be loaded; returns the proxy to use instead."""
        self._is_unloadable = True
        report("loading the app's tracer provider", type(error).__name__)
        return self._proxy

    @property
    def replacement(self) -> TracerProvider | None:
        """The proxy in place of a provider that could not be loaded; `None` if none failed."""
        return self._proxy if self._is_unloadable else None
