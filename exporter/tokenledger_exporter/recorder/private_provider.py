"""The ledger's own tracer provider: it records every span and does nothing after a fork.

Since 1.44, the SDK registers a fork hook for each provider (`TracerProvider._handle_fork`, read in
1.40 to 1.45.2 on 2026-11-28). In the child, the hook runs resource detectors in a thread pool.
Under gevent or eventlet, that yields to the event loop, which runs the app's greenlets a second
time inside the child.
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
    """Ids from the operating system, so that apps with the same `random` seed get different ids."""

    def generate_span_id(self) -> int:
        """64 random bits, never 0."""
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        """128 random bits, never 0."""
        return int.from_bytes(os.urandom(16), "big") or 1


class PrivateProvider(TracerProvider):
    """A provider that samples everything, has no limits, and does nothing after a fork.

    Args:
        resource: the app's resource; `None` reads it from the environment.
    """

    def __init__(self, resource: Resource | None) -> None:
        super().__init__(
            sampler=ALWAYS_ON,
            resource=resource or Resource.create(),
            id_generator=UrandomIdGenerator(),
            span_limits=_UNLIMITED,
            shutdown_on_exit=False,
        )
        # The SDK's span metrics describe the app's tracing, and loading their provider may fail.
        self._meter_provider = NoOpMeterProvider()

    def adopt(self, resource: Resource) -> None:
        """Use an app's resource for new tracers: its provider may be created after this one."""
        self._resource = resource
        # The SDK caches a tracer per scope, since about 1.43.
        tracers: dict[object, object] = getattr(self, "_tracers", {})
        tracers.clear()

    def _handle_fork(self) -> None:
        """Replace the SDK's fork hook: create a new lock, and start no thread pool.

        The SDK registers the bound method, so it calls this one. The SDK would only read the
        process id and instance id again, and a ledger row has neither.
        """
        self._tracers_lock = threading.Lock()


# Every limit is set, so that a malformed environment variable has no effect on this provider.
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
