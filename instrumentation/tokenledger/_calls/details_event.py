"""The conventions' event of a call with its messages, through the app's logger provider.

Only while `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for events. Source: the event
`gen_ai.client.inference.operation.details` of open-telemetry/semantic-conventions-genai, checked
2026-11-28: its messages are structured, not JSON text.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry._logs import LogRecord, NoOpLogger, get_logger_provider

from tokenledger._calls.call import Call
from tokenledger._guard import LOGGER, Guard
from tokenledger_semconv.content import CONTENT, DETAILS_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger._usage.fields import Attributes

# No attribution: an event has a call's own attributes.
_PREFIXES: Final = ("gen_ai.", "openai.", "server.", "error.")
_NO_PROVIDERS: Final = frozenset({"ProxyLoggerProvider", "NoOpLoggerProvider"})


class DetailsEvents:
    """Emits the events of one instrumentation scope.

    Args:
        scope: name of the instrumentation scope.
        provider: the logger provider that an instrumentor was given; `None` uses the global one.
        on_spans: whether the messages go to the spans too.
    """

    def __init__(
        self, scope: str, provider: LoggerProvider | None = None, *, on_spans: bool = False
    ) -> None:
        self._scope = scope
        self._provider = provider
        self.on_spans = on_spans
        self._has_warned = False

    def emit(self, call: Call, attributes: Mapping[str, AttributeValue]) -> None:
        """Emit one call's event; one warning if the app has no logger provider."""
        with Guard("emitting a call's event"):
            provider = self._provider or get_logger_provider()
            logger = provider.get_logger(self._scope)
            if type(provider).__name__ in _NO_PROVIDERS or isinstance(logger, NoOpLogger):
                self._warn()
                return
            details: dict[str, Any] = {
                name: json.loads(value) if name in CONTENT and isinstance(value, str) else value
                for name, value in attributes.items()
                if name.startswith(_PREFIXES)
            }
            logger.emit(
                LogRecord(event_name=DETAILS_EVENT, context=call.running, attributes=details)
            )

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            LOGGER.warning(
                "tokenledger: no event with the messages of a call is emitted, because the app has "
                "no logger provider; set one, or use span_only"
            )


class CallWithEvent(Call):
    """A call whose messages go to an event, and to its spans only if asked.

    Args:
        events: emits the event.
        arguments: those of `Call`.
    """

    __slots__ = ("_content", "_events")

    def __init__(self, events: DetailsEvents, *arguments: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(*arguments)
        self._events = events
        self._content: Attributes = {}
        # As a meter, it gets all attributes of the call once.
        self._meters = (*self._meters, cast("Any", self))

    def finish(
        self,
        attributes: Attributes | None = None,
        error: BaseException | None = None,
        *,
        end_time_ns: int | None = None,
        abandoned: bool = False,
    ) -> None:
        """End the spans, and emit the event; only the first finish counts."""
        known: Attributes = {**(self._settings or {}), **(attributes or {})}
        if not self._events.on_spans and not self.is_finished:
            self._settings = None
            self._content = {name: known.pop(name) for name in CONTENT if name in known}
        super().finish(known, error, end_time_ns=end_time_ns, abandoned=abandoned)

    def add(self, attributes: Mapping[str, AttributeValue], _start_ns: int, _failed: bool) -> None:
        """As a meter: the call ended."""
        self._events.emit(self, {**attributes, **self._content})


def calls_with_events(
    scope: str, provider: LoggerProvider | None, *, on_spans: bool
) -> Callable[..., Call]:
    """Makes calls that emit events.

    Args:
        scope: name of the instrumentation scope.
        provider: the logger provider that an instrumentor was given; `None` uses the global one.
        on_spans: whether the messages go to the spans too.
    """
    return partial(CallWithEvent, DetailsEvents(scope, provider, on_spans=on_spans))
