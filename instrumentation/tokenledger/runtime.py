"""What `configure()` set up: the settings, the ledger and the defaults of attribution.

One value, replaced whole, so that a call reads a consistent picture without a lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from tokenledger import failures
from tokenledger.app_provider import app_provider
from tokenledger.ledger import find_install
from tokenledger.precedence import NOTHING, keyword_layer, metadata_layer
from tokenledger.trust import note_remote_baggage
from tokenledger_semconv.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tokenledger.ledger import Ledger
    from tokenledger.precedence import Layer

SDK_DISABLED_VARIABLE: Final = "OTEL_SDK_DISABLED"
"""OpenTelemetry's own switch; where it says true, the ledger records nothing either."""

SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
"""How long `shutdown()` waits for rows to be written."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is in force. Without a ledger, calls are spans of the app's tracing only."""

    settings: Settings = field(default_factory=Settings)
    ledger: Ledger | None = None
    defaults: Layer = field(default_factory=lambda: NOTHING)
    recording: bool = True


class Runtime:
    """Holder of the set-up in force."""

    def __init__(self) -> None:
        self.setup = Setup()
        self._changing = Lock()

    def start(self, settings: Settings) -> None:
        """Bring the settings into force; open the ledger unless they say not to.

        Never raises for a ledger that cannot be opened: that is one log line.
        """
        with self._changing:
            if not _is_wanted(settings):
                self._stop(SHUTDOWN_TIMEOUT_SECONDS)
                self.setup = Setup(settings=settings, recording=False)
                return
            note_remote_baggage()
            self.setup = Setup(
                settings=settings, ledger=_open_ledger(settings), defaults=_defaults(settings)
            )

    def shutdown(self, timeout: float) -> None:
        """Stop the ledger, if one is open, and forget the settings."""
        with self._changing:
            self._stop(timeout)
            self.setup = Setup()

    def _stop(self, timeout: float) -> None:
        ledger = self.setup.ledger
        self.setup = Setup(settings=self.setup.settings)
        if ledger is not None:
            with failures.Guard("shutting the ledger down"):
                ledger.shutdown(timeout)


def _is_wanted(settings: Settings) -> bool:
    if os.environ.get(SDK_DISABLED_VARIABLE, "").strip().lower() == "true":
        failures.LOGGER.warning(
            "TokenLedger records nothing: %s is true. Unset it to record calls.",
            SDK_DISABLED_VARIABLE,
        )
        return False
    return settings.enabled


def _open_ledger(settings: Settings) -> Ledger | None:
    try:
        return find_install()(app_provider(), settings)
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - the app must start although its ledger does not
        # No traceback: it could quote the database's URL.
        failures.LOGGER.error(
            "TokenLedger could not open its ledger (%s): calls are not recorded. "
            "`tokenledger doctor` names the cause.",
            type(error).__name__,
        )
        return None


def _defaults(settings: Settings) -> Layer:
    return {
        **metadata_layer(settings.default_metadata),
        **metadata_layer(settings.tags),
        **keyword_layer({"agent_id": settings.agent_id or None}),
    }


RUNTIME: Final = Runtime()
"""The set-up of this process."""
