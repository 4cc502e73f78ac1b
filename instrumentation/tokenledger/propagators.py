"""OpenTelemetry's propagators, also where one is named in the environment and not installed.

`opentelemetry.propagate` loads what OTEL_PROPAGATORS names when it is imported, and raises if one
is missing. The base class of every instrumentor imports it, so no call would be recorded.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from tokenledger.failures import report

_MODULE: Final = "opentelemetry.propagate"
_VARIABLE: Final = "OTEL_PROPAGATORS"
# OpenTelemetry's own default (its environment variable specification, read 2026-11-28).
_DEFAULT: Final = "tracecontext,baggage"


def load_propagators() -> None:
    """Import OpenTelemetry's propagation; with its default where the app's cannot be loaded."""
    if _MODULE in sys.modules:
        return
    try:
        importlib.import_module(_MODULE)
    except Exception as error:
        named = os.environ.get(_VARIABLE)
        if named is None:
            raise
        report("loading the propagators of OTEL_PROPAGATORS", type(error).__name__)
        os.environ[_VARIABLE] = _DEFAULT
        try:
            importlib.import_module(_MODULE)
        finally:
            os.environ[_VARIABLE] = named
