"""The seam to the exporter: what the instrumentation asks of a ledger, and how it finds one.

The two rooms never import each other. The exporter registers `install` under the entry-point group
below, the way the OpenTelemetry SDK finds its exporters.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger_semconv.settings import Settings

ENTRY_POINT_GROUP: Final = "tokenledger_ledger"
"""Where an exporter registers `install(provider, settings) -> Ledger`."""

ENTRY_POINT_NAME: Final = "postgres"
"""The one ledger there is."""


class Ledger(Protocol):
    """Where calls are booked; the exporter implements it."""

    @property
    def tracer_provider(self) -> TracerProvider:
        """A private, always-on provider whose spans reach this ledger and nothing else."""
        ...

    def attach(self, provider: TracerProvider) -> bool:
        """Listen to the app's provider; idempotent.

        Returns:
            True if our spans recorded there reach this ledger, False for a proxy or no-op provider,
            and for one whose limits may cut them.
        """
        ...

    def flush(self, timeout: float) -> int:
        """Write what waits, for at most `timeout` seconds; the number of rows committed."""
        ...

    def price(
        self, attributes: Mapping[str, AttributeValue], start_ns: int, *, failed: bool
    ) -> Decimal | None:
        """What a call costs in US dollars, by prices at hand; never asks a database.

        Args:
            attributes: what the span of the call says.
            start_ns: when it began, in nanoseconds since 1970; prices are of that day.
            failed: whether it failed.

        Returns:
            `None` where the call has no price, or did not say what it used.
        """
        ...

    def health(self) -> dict[str, object]:
        """What the ledger did and lost so far."""
        ...

    def shutdown(self, timeout: float) -> None:
        """Write what can be written within `timeout` seconds, then stop."""
        ...


class Install(Protocol):
    """What stands behind the entry point."""

    def __call__(self, provider: TracerProvider | None, settings: Settings) -> Ledger:
        """Open the ledger, or bring the open one to new settings, and listen to `provider`."""
        ...


class LedgerNotFoundError(LookupError):
    """No installed package registers a ledger."""


def find_install() -> Install:
    """The exporter's `install`.

    Raises:
        LedgerNotFoundError: the entry point is missing, so the installation is broken.
    """
    # Loaded here: it is half of what importing this package would cost.
    metadata = importlib.import_module("importlib.metadata")
    for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=ENTRY_POINT_NAME):
        install: Install = entry_point.load()
        return install
    raise LedgerNotFoundError(
        f"entry point {ENTRY_POINT_GROUP}:{ENTRY_POINT_NAME} not found: reinstall tokenledger-otel"
    )
