"""The ledger that an app records into: spool, drainer, and the tracer providers that feed them.

`tokenledger.configure()` and the launcher find `install` by its entry point. A process has at most
one installed ledger; installing another moves every attached provider to it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import TracerProvider

from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.dialects.span_source import encodable
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.installed import PROCESS
from tokenledger_exporter.log import fail, warn
from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
from tokenledger_exporter.rating.live_price import price_of
from tokenledger_exporter.recorder.budgets.guard import LeaseGuard
from tokenledger_exporter.recorder.drainer import Drainer, package_prices
from tokenledger_exporter.recorder.greenlets import REMEDY, warning
from tokenledger_exporter.recorder.health import HealthMonitor, register_metrics
from tokenledger_exporter.recorder.private_provider import PrivateProvider
from tokenledger_exporter.recorder.processor import (
    EXIT_SECONDS,
    LedgerProcessor,
    OthersProcessor,
    exit_seconds_left,
)
from tokenledger_exporter.recorder.span_limits import may_cut
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.spool.fsync import FsyncThread
from tokenledger_exporter.spool.permissions import spool_folder
from tokenledger_exporter.spool.spool import Spool
from tokenledger_semconv import attributes, dimensions
from tokenledger_semconv.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import TracerProvider as AnyTracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_semconv.budgets import BudgetGuard
    from tokenledger_semconv.settings import Settings

_COMMIT_SECONDS: Final = 5.0
_COMMIT_AT_LIMIT_SECONDS: Final = 2.0


class PostgresLedger:
    """Records the calls of one process into one Postgres ledger.

    Creating one touches neither disk nor network. The spool opens with the first call, and the
    connection with the first batch, in the background.

    Raises:
        SettingsError: no database URL is set.
    """

    def __init__(self, settings: Settings, resource: Resource | None = None) -> None:
        if not settings.database_url:
            raise SettingsError(
                "no database URL: pass configure(database_url=...) or set TOKENLEDGER_DATABASE_URL"
            )
        self.settings: Final = settings
        identity = fingerprint(settings.database_url)
        header = SpoolHeader(
            format_version=FORMAT_VERSION,
            ledger=identity,
            app_name=encodable(settings.app_name),
            environment=encodable(settings.environment),
            defaults=_default_attributes(settings),
        )
        self.folder: Final = spool_folder(settings.spool_dir, identity)
        self._header: Final = header
        self._spool: Final = Spool(self.folder, header, settings.buffer_size)
        self._guard: Final = self._make_guard(settings.database_url, resource)
        self._writer: Final = MaintainingWriter(settings.database_url, reservations=self._guard)
        self._drainer: Final = Drainer(self._spool, self._writer, settings, self._guard)
        self._fsync_thread: Final = FsyncThread(self._spool.sync)
        self.monitor: Final = HealthMonitor(
            settings.database_url, self.folder, self._spool, self._drainer
        )
        self._stopped = False
        self._budgets_changed: Callable[[BudgetGuard | None], None] | None = None
        # Created now: at interpreter exit the SDK cannot create one, and calls would be lost.
        self._private: Final = PrivateProvider(resource)
        self._private.add_span_processor(LedgerProcessor(self))
        _open_ledgers.add(self)

    @property
    def tracer_provider(self) -> TracerProvider:
        """A provider whose spans reach only this ledger, however the app samples."""
        return self._private

    def attach(self, provider: AnyTracerProvider) -> bool:
        """Let an app's provider feed this ledger.

        Returns:
            Whether our own calls reach the ledger through that provider's spans. They do not if it
            is not an SDK provider, or if its limits may cut them. Other emitters' spans always do.
        """
        if not isinstance(provider, TracerProvider):
            return False
        with _attaching:
            processor = _attached.get(provider)
            if processor is None:
                processor = (OthersProcessor if may_cut(provider) else LedgerProcessor)(self)
                _attached[provider] = processor
                provider.add_span_processor(processor)
                self._private.adopt(provider.resource)
                if sentence := warning(provider):
                    warn("greenlets_in_children", f"{sentence}; {REMEDY}")
            processor.sink = self
        return not isinstance(processor, OthersProcessor)

    def append(self, payload: bytes) -> None:
        """Spool one record; with `async_mode=False`, also wait for an attempt to commit it."""
        if self._stopped and (successor := self._successor()) is not None:
            # A stream that outlives a second `configure()` is recorded by the new ledger.
            successor.append(payload)
            return
        number = self._spool.append(payload)
        if not self._fsync_thread.due:
            self._fsync_thread.notice()
        if not number:
            return
        # While the database is unreachable, no call waits for it: the record is in the spool.
        if self.settings.async_mode or self._drainer.is_pausing:
            self._drainer.notice(number)
        else:
            self._drainer.drain_now(_COMMIT_SECONDS)

    def append_start(self, payload: bytes) -> None:
        """Spool that a call was sent; it is only written if this process dies before its end."""
        if self._stopped and (successor := self._successor()) is not None:
            successor.append_start(payload)
            return
        self._spool.append(payload, ended=False)
        if not self._fsync_thread.due:
            self._fsync_thread.notice()

    def count_unrecorded(self, kind: str) -> None:
        """Count a call that could not be turned into a record; the first is logged."""
        state = self._spool.state
        if not state.unrecorded:
            fail("record_lost", f"{kind} while writing a call to the spool", error=kind)
        state.unrecorded += 1

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed."""
        return self._spool.waiting

    def flush(self, timeout: float) -> int:
        """Try to commit the waiting records; returns the rows committed before the timeout."""
        return self._drainer.drain_now(timeout)

    def price(
        self, attributes: Mapping[str, AttributeValue], start_ns: int, *, failed: bool
    ) -> Decimal | None:
        """The cost of a call in US dollars, without a query.

        It uses the ledger's price book if this process has written a row of that provider, else the
        installed `genai-prices` package, whose first use takes a second.
        """
        return price_of(
            attributes, start_ns, failed=failed, header=self._header, prices_of=self._known_prices
        )

    def _make_guard(self, database_url: str, resource: Resource | None) -> LeaseGuard:
        known: Mapping[str, object] = resource.attributes if resource else {}
        return LeaseGuard(
            database_url=database_url,
            app_name=self._header.app_name,
            holder=lambda: self._spool.writer,
            of_process={
                "app": self._header.app_name,
                "environment": self._header.environment,
                "release": str(known.get(attributes.SERVICE_VERSION, "")),
            },
            header=self._header,
            start=lambda: self._drainer.start(),  # noqa: PLW0108 - it does not exist yet
            commit=lambda: self.flush(_COMMIT_AT_LIMIT_SECONDS),
        )

    def _known_prices(self, provider: str) -> PriceBook:
        return self._drainer.known_prices.get(provider) or package_prices()

    def enforce_budgets(self, changed: Callable[[BudgetGuard | None], None]) -> None:
        """Call a function now, and whenever there are budgets that may refuse calls, or no more."""
        self._guard.enforce(changed)

    def health(self) -> dict[str, object]:
        """Counts of waiting, committed and lost calls, and the last error as a sentence."""
        return self.monitor.health()

    def shutdown(self, timeout: float, *, ends_process: bool = False) -> None:
        """Try to commit the last rows and close; the rest stays in the spool. Idempotent."""
        self._stopped = True
        self._drainer.stop(timeout, ends_process=ends_process)
        self._fsync_thread.stop()
        self._spool.close()
        if PROCESS.ledger is self:
            PROCESS.ledger = None

    def after_fork(self) -> None:
        """In a forked child: drop everything that belongs to the parent."""
        self._spool.after_fork()
        self._writer.after_fork()
        self._drainer.after_fork()
        self._guard.after_fork()
        self._fsync_thread.after_fork()

    def _successor(self) -> PostgresLedger | None:
        """The installed ledger, if it is another one with the same spool folder."""
        ledger = installed_ledger()
        same = ledger is not None and ledger is not self and ledger.folder == self.folder
        return ledger if same else None


def install(provider: AnyTracerProvider | None, settings: Settings) -> PostgresLedger:
    """Install a ledger for this process and attach a provider to it.

    Args:
        provider: the app's provider; a proxy or `None` attaches nothing yet.
        settings: the settings of `configure()`; equal settings keep the installed ledger.

    Raises:
        SettingsError: no database URL is set, or `embedded` is set in a web server.
        EmbeddedPostgresError: the embedded Postgres does not start.
    """
    with _installing:
        if settings.embedded and settings.enabled and not settings.database_url:
            settings = replace(settings, database_url=_embedded_database_url())
        previous = installed_ledger()
        if previous is not None and previous.settings == settings:
            ledger = previous
        else:
            resource = provider.resource if isinstance(provider, TracerProvider) else None
            ledger = PROCESS.ledger = PostgresLedger(settings, resource)
            if not PROCESS.has_metrics:
                PROCESS.has_metrics = True
                _register_metrics()
            for attached in list(_attached):
                ledger.attach(attached)
            if previous is not None:
                previous.shutdown(EXIT_SECONDS)
    if provider is not None:
        ledger.attach(provider)
    return ledger


def _embedded_database_url() -> str:
    # Loaded here: an app with a database does not need it.
    from tokenledger_exporter.recorder import embedded_server  # noqa: PLC0415

    return embedded_server.embedded_database_url()


def installed_ledger() -> PostgresLedger | None:
    """The installed ledger, if there is one."""
    ledger = PROCESS.ledger
    return ledger if isinstance(ledger, PostgresLedger) else None


def _register_metrics() -> None:
    try:
        register_metrics(_installed_monitor)
    except Exception as error:  # noqa: BLE001 - a meter provider may raise anything
        kind = type(error).__name__
        warn("metrics_unavailable", f"the app's meter provider cannot be loaded ({kind})")


def _installed_monitor() -> HealthMonitor | None:
    ledger = installed_ledger()
    return None if ledger is None else ledger.monitor


def feeds_installed_ledger(resource: Resource, database_url: str) -> bool:
    """Whether the installed ledger is this one and already gets spans with this resource."""
    ledger = installed_ledger()
    if ledger is None or fingerprint(ledger.settings.database_url) != fingerprint(database_url):
        return False
    return any(provider.resource is resource for provider in list(_attached))


def _default_attributes(settings: Settings) -> dict[str, str]:
    """Default attribution as span attributes; a known key fills its column and is also metadata."""
    values: dict[str, Any] = {**settings.default_metadata, **settings.tags}
    defaults = {attributes.METADATA_PREFIX + key: str(value) for key, value in values.items()}
    if settings.agent_id:
        values["agent_id"] = settings.agent_id
    known = dimensions.ATTRIBUTION_KEYS
    defaults |= {known[key]: str(value) for key, value in values.items() if key in known}
    return {encodable(key): encodable(value) for key, value in defaults.items()}


def _close_all() -> None:
    for ledger in list(_open_ledgers):
        ledger.shutdown(exit_seconds_left(), ends_process=True)
    if PROCESS.embedded is not None:
        from tokenledger_exporter.recorder import embedded_server  # noqa: PLC0415

        embedded_server.stop_embedded()


def _fork_all() -> None:
    global _attaching, _installing
    _attaching, _installing = threading.Lock(), threading.Lock()
    # The parent's server is not the child's to stop.
    PROCESS.embedded = None
    for ledger in list(_open_ledgers):
        ledger.after_fork()


_installing = threading.Lock()
_attaching = threading.Lock()
_attached: Final[weakref.WeakKeyDictionary[TracerProvider, LedgerProcessor]] = (
    weakref.WeakKeyDictionary()
)
_open_ledgers: Final[weakref.WeakSet[PostgresLedger]] = weakref.WeakSet()
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
