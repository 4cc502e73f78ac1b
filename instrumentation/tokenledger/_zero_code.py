"""Zero-code start: `opentelemetry-instrument` calls this before it loads the instrumentors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tokenledger._guard import LOGGER
from tokenledger._state import RUNTIME
from tokenledger_semconv.settings import (
    SettingsError,
    environment_variable,
    launcher_variable,
    read_settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTERS_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
"""OpenTelemetry's comma-separated list of exporters."""

EXPORTER_NAME: Final = "tokenledger"
"""Our name in that list."""

_DATABASE_VARIABLES: Final = (
    environment_variable("database_url"),
    launcher_variable("database_url"),
)


def is_requested(environ: Mapping[str, str]) -> bool:
    """Whether the environment names our exporter or our database.

    `DATABASE_URL` alone belongs to the app and starts nothing.
    """
    exporters = environ.get(EXPORTERS_VARIABLE, "").split(",")
    named = EXPORTER_NAME in (name.strip() for name in exporters)
    return named or any(environ.get(name) for name in _DATABASE_VARIABLES)


def before_instrumentors() -> None:
    """Do what `configure()` does, with settings from the environment only.

    Never raises: otherwise the launcher would load no other instrumentation either.
    """
    try:
        if is_requested(os.environ):
            RUNTIME.start(read_settings())
    except SettingsError as error:
        LOGGER.error("tokenledger: not started: %s", error)
    except Exception as error:  # noqa: BLE001 - see above
        # No traceback: it could quote the database's URL.
        LOGGER.error(
            "tokenledger: not started (%s). Run 'tokenledger doctor' to find the cause.",
            type(error).__name__,
        )
