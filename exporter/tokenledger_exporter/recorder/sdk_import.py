"""Loads OpenTelemetry's SDK, also where a limit in the environment is malformed.

`opentelemetry.sdk.trace` reads its limits when it is imported, and raises for one that is no number
(1.45.2, read 2026-11-28). An app that uses no OpenTelemetry would have no ledger because of it.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from tokenledger_exporter.log import warn

_MODULE: Final = "opentelemetry.sdk.trace"
_LIMIT: Final = "_LIMIT"


def load_sdk() -> None:
    """Import the SDK; without the app's limits where they cannot be read."""
    if _MODULE in sys.modules:
        return
    try:
        importlib.import_module(_MODULE)
    except ValueError:
        limits = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("OTEL_") and name.endswith(_LIMIT)
        }
        for name in limits:
            del os.environ[name]
        try:
            importlib.import_module(_MODULE)
        finally:
            os.environ.update(limits)
        names = ", ".join(sorted(limits))
        warn("sdk_limits", f"OpenTelemetry cannot read one of {names}: give a number")
