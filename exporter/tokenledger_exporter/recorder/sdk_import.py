"""Imports OpenTelemetry's SDK even if a limit in the environment is malformed.

`opentelemetry.sdk.trace` reads its limits when it is imported, and raises if one is not a number
(1.45.2, read 2026-11-28). Without this, such a variable would leave an app without its ledger.
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
    """Import the SDK; ignore the app's limits if one of them cannot be read."""
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
        warn("sdk_limits", f"OpenTelemetry cannot parse one of {names}: set each to a number")
