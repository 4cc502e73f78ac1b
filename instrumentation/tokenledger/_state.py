"""The state of this process: settings, ledger, instrumented SDKs, and the app's tracer provider.

The setup is one value that is replaced as a whole, so a call reads a consistent picture without a
lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from tokenledger import _guard
from tokenledger._attribution.baggage import note_remote_baggage
from tokenledger._attribution.layers import NOTHING, keyword_layer, metadata_layer
from tokenledger._budget_switch import SWITCH
from tokenledger._ledger import find_install
from tokenledger._otel_loading import AppProvider
from tokenledger_semconv.settings import Settings, SettingsError, not_text

if TYPE_CHECKING:
    from tokenledger._attribution.layers import Layer
    from tokenledger._ledger import Ledger

SDK_DISABLED_VARIABLE: Final = "OTEL_SDK_DISABLED"
"""OpenTelemetry's own switch; if it is true, the ledger records nothing either."""

SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
"""How long `shutdown()` waits for rows to be written."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The active configuration. Without a ledger, calls are spans of the app's tracing only.

    `configured` is true after `configure()`, also if its ledger could not be opened.
    """

    settings: Settings = field(default_factory=Settings)
    ledger: Ledger | None = None
    defaults: Layer = field(default_factory=lambda: NOTHING)
    recording: bool = True
    configured: bool = False


class Runtime:
    """Holds the setup in effect, the instrumented SDKs and the app's tracer provider."""

    def __init__(self) -> None:
        self.setup = Setup()
        self.app_provider: Final = AppProvider()
        self._instrumented: frozenset[str] = frozenset()
        self._changing = Lock()

    def start(self, settings: Settings) -> None:
        """Apply settings, and open the ledger unless they disable it.

        A ledger that cannot be opened is one log line, not an error.
        """
        with self._changing:
            if not _is_wanted(settings):
                self._stop(SHUTDOWN_TIMEOUT_SECONDS)
                self.setup = Setup(settings=settings, recording=False, configured=True)
                return
            note_remote_baggage()
            ledger = _open_ledger(settings, self.app_provider)
            self.setup = Setup(
                settings=settings, ledger=ledger, defaults=_defaults(settings), configured=True
            )
            _follow_budgets(ledger)

    def shutdown(self, timeout: float) -> None:
        """Stop the ledger, if one is open, and forget the settings."""
        with self._changing:
            self._stop(timeout)
            self.setup = Setup()

    def note_instrumented(self, sdk: str, *, is_instrumented: bool) -> None:
        """Note that an SDK's calls are recorded from now on, or no longer."""
        with self._changing:
            others = self._instrumented - {sdk}
            self._instrumented = others | {sdk} if is_instrumented else others

    def is_instrumented(self, sdk: str) -> bool:
        """Whether an SDK's calls are recorded. It is named by its top-level package."""
        return sdk in self._instrumented

    @property
    def has_instrumented(self) -> bool:
        """Whether the calls of any SDK are recorded."""
        return bool(self._instrumented)

    def _stop(self, timeout: float) -> None:
        ledger = self.setup.ledger
        self.setup = Setup(settings=self.setup.settings)
        _follow_budgets(None)
        if ledger is not None:
            with _guard.Guard("shutting the ledger down"):
                ledger.shutdown(timeout)


def _is_wanted(settings: Settings) -> bool:
    if os.environ.get(SDK_DISABLED_VARIABLE, "").strip().lower() == "true":
        _guard.LOGGER.warning(
            "tokenledger: nothing is recorded, because %s is true; unset it to record calls",
            SDK_DISABLED_VARIABLE,
        )
        return False
    return settings.enabled


def _open_ledger(settings: Settings, app_provider: AppProvider) -> Ledger | None:
    if (option := not_text(settings)) is not None:
        _guard.LOGGER.error(
            "tokenledger: %s must be text, not %s: calls are not recorded",
            option,
            type(getattr(settings, option)).__name__,
        )
        return None
    try:
        return find_install()(app_provider.get(), settings)
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - the app must start even if its ledger does not
        # No traceback, and no text of any other error: it could quote the database's URL.
        is_safe = getattr(error, "is_safe_to_log", False) is True
        _guard.LOGGER.error(
            "tokenledger: the ledger could not be opened (%s): calls are not recorded. "
            "Run 'tokenledger doctor' to find the cause.",
            error if is_safe else type(error).__name__,
        )
        return None


def _follow_budgets(ledger: Ledger | None) -> None:
    """Enforce the budgets of a ledger, and of no other."""
    changed = SWITCH.follow()
    if ledger is not None:
        with _guard.Guard("asking the ledger for its budgets"):
            ledger.enforce_budgets(changed)


def _defaults(settings: Settings) -> Layer:
    return {
        **metadata_layer(settings.default_metadata),
        **metadata_layer(settings.tags),
        **keyword_layer({"agent_id": settings.agent_id or None}),
    }


RUNTIME: Final = Runtime()
"""The state of this process."""
