"""Detects a tracer provider that runs the app's greenlets again in each forked child.

Since opentelemetry-sdk 1.44, a provider's fork hook runs resource detectors in a thread pool (read
2026-11-28, see `private_provider`). If gevent or eventlet has patched threads, waiting for that
pool runs every ready greenlet in the child. The app's provider is not ours to change, so this is
only reported.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tokenledger_exporter.recorder.private_provider import PrivateProvider

REMEDY: Final = (
    "pin opentelemetry-sdk below 1.44, or create no TracerProvider: TokenLedger does not need one"
)
"""What to do about a provider with the hook."""

_HOOK: Final = "_handle_fork"


def patched_by() -> str:
    """The library that replaced this process's threads with greenlets; "" if none did."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return ""


def has_fork_hook(provider: object) -> bool:
    """Whether a provider is the SDK's and has its fork hook."""
    return (
        isinstance(provider, TracerProvider)
        and not isinstance(provider, PrivateProvider)
        and hasattr(provider, _HOOK)
        and hasattr(os, "register_at_fork")
    )


def warning(provider: object) -> str:
    """A sentence about a provider that runs greenlets in forked children; "" for any other."""
    library = patched_by()
    if not library or not has_fork_hook(provider):
        return ""
    return (
        "forking makes the app's TracerProvider run the app's greenlets again in every child: "
        f"{library} has patched threads, and the OpenTelemetry SDK's fork hook waits for threads"
    )


def examine_app_provider() -> tuple[str, str]:
    """A sentence about the global tracer provider, and the remedy; "" if none is needed."""
    try:
        provider = trace.get_tracer_provider()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        kind = type(error).__name__
        detail = f"the provider that OTEL_PYTHON_TRACER_PROVIDER names cannot be loaded ({kind})"
        return detail, "install its package or unset the variable; calls are recorded without it"
    if sentence := warning(provider):
        return sentence, REMEDY
    return "safe to fork, also under gevent", ""
