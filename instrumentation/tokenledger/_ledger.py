"""The interface to the exporter: what the instrumentation needs of a ledger, and how it finds one.

The two packages never import each other. The exporter registers `install` under the entry-point
group below, like the exporters of the OpenTelemetry SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger_semconv.budgets import BudgetGuard
    from tokenledger_semconv.settings import Settings

ENTRY_POINT_GROUP: Final = "tokenledger_ledger"
"""Where an exporter registers `install(provider, settings) -> Ledger`."""

ENTRY_POINT_NAME: Final = "postgres"
"""The only ledger so far."""


class Ledger(Protocol):
    """Where calls are recorded; the exporter implements it."""

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
        """Write waiting rows for at most `timeout` seconds; returns the rows committed."""
        ...

    def price(
        self, attributes: Mapping[str, AttributeValue], start_ns: int, *, failed: bool
    ) -> Decimal | None:
        """The cost of a call in US dollars, by the prices in memory; never queries a database.

        Args:
            attributes: the attributes of the call's span.
            start_ns: when it began, in nanoseconds since 1970; the prices of that day apply.
            failed: whether it failed.

        Returns:
            `None` if the call has no price or reported no usage.
        """
        ...

    def enforce_budgets(self, changed: Callable[[BudgetGuard | None], None]) -> None:
        """Report the budgets that may refuse calls, from now on.

        Args:
            changed: called from any thread with a guard whenever such budgets come into force, and
                with `None` when there are none. It replaces the function of an earlier call, and is
                called at once if budgets are in force already.
        """
        ...

    def health(self) -> dict[str, object]:
        """What the ledger has written and lost so far."""
        ...

    def shutdown(self, timeout: float) -> None:
        """Write waiting rows for at most `timeout` seconds, then stop."""
        ...


class Install(Protocol):
    """The function behind the entry point."""

    def __call__(self, provider: TracerProvider | None, settings: Settings) -> Ledger:
        """Open the ledger, or apply new settings to the open one, and listen to `provider`."""
        ...


class LedgerNotFoundError(LookupError):
    """No installed package registers a ledger."""


def find_install() -> Install:
    """The exporter's `install`.

    Raises:
        LedgerNotFoundError: the entry point is missing, so the installation is broken.
    """
    # Loaded here: it takes half the time of importing this package.
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=ENTRY_POINT_NAME):
        install: Install = entry_point.load()
        return install
    raise LedgerNotFoundError(
        f"entry point {ENTRY_POINT_GROUP}:{ENTRY_POINT_NAME} not found: reinstall tokenledger-otel"
    )
