"""Whether a tracer provider runs an app's greenlets again in each forked child.

Since opentelemetry-sdk 1.44 a provider's fork hook asks resource detectors through a thread pool
(read 2026-11-28, see `private_provider`). Where gevent or eventlet has patched threads, waiting for
that pool runs every greenlet that is ready, in the child. The app's provider is not ours to change,
so this is said and not mended.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tokenledger_exporter.recorder.private_provider import PrivateProvider

REMEDY: Final = (
    "pin opentelemetry-sdk below 1.44 or make no TracerProvider in this app: TokenLedger needs none"
)
"""What to do about a provider with the hook."""

_HOOK: Final = "_handle_fork"


def patched_by() -> str:
    """The library that has replaced this process's threads by greenlets; "" if none has."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return ""


def has_fork_hook(provider: object) -> bool:
    """Whether a provider is the SDK's, with its own fork hook."""
    return (
        isinstance(provider, TracerProvider)
        and not isinstance(provider, PrivateProvider)
        and hasattr(provider, _HOOK)
        and hasattr(os, "register_at_fork")
    )


def warning(provider: object) -> str:
    """One sentence on a provider that runs greenlets in forked children here; "" for any other."""
    library = patched_by()
    if not library or not has_fork_hook(provider):
        return ""
    return (
        f"the app's TracerProvider runs the app's greenlets again in every forked child ({library} "
        f"is patched in, and the OpenTelemetry SDK's fork hook waits for threads)"
    )


def examine_app_provider() -> tuple[str, str]:
    """What is known of the global tracer provider, and what to do about it; "" for nothing."""
    try:
        provider = trace.get_tracer_provider()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        kind = type(error).__name__
        detail = f"OTEL_PYTHON_TRACER_PROVIDER names one that cannot be loaded ({kind})"
        return detail, "install its package or unset the variable; calls are recorded without it"
    if sentence := warning(provider):
        return sentence, REMEDY
    return "TokenLedger's own does nothing in a forked child, also under gevent", ""
