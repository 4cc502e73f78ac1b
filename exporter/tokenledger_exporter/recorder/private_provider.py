"""The tracer provider of a ledger's own: it records every span and stays silent after a fork.

The SDK registers a fork hook for each of its providers since 1.44 (`TracerProvider._handle_fork`,
read in 1.40 to 1.45.2 on 2026-11-28). In the child it asks resource detectors through a thread
pool. Under gevent or eventlet that yields to the event loop, which runs the app's greenlets a
second time, inside the child.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON


class UrandomIdGenerator(IdGenerator):
    """Ids from the operating system: an app that seeds `random` must not repeat another's ids."""

    def generate_span_id(self) -> int:
        """64 random bits, never 0."""
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        """128 random bits, never 0."""
        return int.from_bytes(os.urandom(16), "big") or 1


class PrivateProvider(TracerProvider):
    """A provider that samples everything, has no limits, and is silent after a fork.

    Args:
        resource: the app's; `None` reads it from the environment.
    """

    def __init__(self, resource: Resource | None) -> None:
        super().__init__(
            sampler=ALWAYS_ON,
            resource=resource or Resource.create(),
            id_generator=UrandomIdGenerator(),
            span_limits=_UNLIMITED,
            shutdown_on_exit=False,
        )
        # The SDK's metrics on spans are of the app's tracing; loading their provider may fail.
        self._meter_provider = NoOpMeterProvider()

    def adopt(self, resource: Resource) -> None:
        """Make tracers with an app's resource from now on: its provider may come after us."""
        self._resource = resource
        # The SDK hands out the same tracer for the same scope, since 1.43 or so.
        known: dict[object, object] = getattr(self, "_tracers", {})
        known.clear()

    def _handle_fork(self) -> None:
        """In place of the SDK's: a fresh lock, and no thread pool.

        The hook holds the bound method, so it finds this one. A ledger row has no process id and no
        instance id, which are all that the SDK would read again.
        """
        self._tracers_lock = threading.Lock()


# Each of them, so that a malformed variable of the app's limits stops nothing of ours.
_UNLIMITED: Final = SpanLimits(
    max_attributes=SpanLimits.UNSET,
    max_events=SpanLimits.UNSET,
    max_links=SpanLimits.UNSET,
    max_span_attributes=SpanLimits.UNSET,
    max_event_attributes=SpanLimits.UNSET,
    max_link_attributes=SpanLimits.UNSET,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)
