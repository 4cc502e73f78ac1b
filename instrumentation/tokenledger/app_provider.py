"""The app's global tracer provider, also where it is named in the environment and not installed.

OpenTelemetry then raises and logs a traceback whenever it is asked, so it is not asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from tokenledger.failures import report

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_PROXY: Final = ProxyTracerProvider()
_failed: Final[list[bool]] = []


def app_provider() -> TracerProvider:
    """The global provider; if it cannot be loaded, one that follows what the app sets later."""
    if not _failed:
        try:
            return get_tracer_provider()
        except Exception as error:  # noqa: BLE001 - whatever the named provider's package raises
            note_unloadable(error)
    return _PROXY


def note_unloadable(error: Exception) -> TracerProvider:
    """Remember that the provider cannot be loaded; what stands in for it."""
    _failed[:] = [True]
    report("loading the app's tracer provider", type(error).__name__)
    return _PROXY


def stand_in() -> TracerProvider | None:
    """What stands in for a provider that could not be loaded; `None` while none failed."""
    return _PROXY if _failed else None
