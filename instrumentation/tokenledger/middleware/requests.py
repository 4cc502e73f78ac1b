"""Shared by all frameworks: a request's attribution, and running the request's code under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context

from tokenledger._attribution import scope
from tokenledger._attribution.baggage import without_untrusted
from tokenledger._attribution.context import with_middleware
from tokenledger._attribution.layers import clean
from tokenledger._calls.meter import Meter, counted_by
from tokenledger._guard import Guard, report
from tokenledger_semconv.attributes import ENDPOINT, METADATA_PREFIX, SESSION_ID, USER_ID

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator

    from opentelemetry.context import Context

COST_HEADER: Final = "X-LLM-Cost"
WITHOUT_COST_HEADER: Final = "X-LLM-Calls-Without-Cost"
"""Response header: the cost in US dollars of calls that ended before the headers were sent."""

_REQUEST_ID: Final = METADATA_PREFIX + "request_id"


@dataclass(frozen=True, slots=True)
class Options:
    """What a middleware reads from a request; `None` reads nothing.

    Args:
        user_header: the header with the user's id. Anyone can send it: let a gateway set it.
        get_user: returns the user of a request, by the app's own id, in place of the header. It is
            called when the request makes its first model call, so an authentication that comes
            after this middleware is done by then. It is called again as long as it returns `None`.
        session_header: the header with the session's id.
        request_id_header: the header with the request's id, which is stored as metadata.
        cost_header: whether responses report their cost.
    """

    user_header: str | None = "X-User-ID"
    get_user: Callable[[Any], object] | None = None
    session_header: str | None = "X-Session-ID"
    request_id_header: str | None = "X-Request-ID"
    cost_header: bool = False


class RequestLayer(Mapping[str, str]):
    """The attribution of one request, determined when its first model call needs it.

    Args:
        options: what to read.
        header: returns a header's value; `None` if the request has no such header.
        endpoint: returns the route's template; `None` while it is unknown.
        request: returns the argument of `get_user`.
    """

    __slots__ = ("_endpoint", "_get_user", "_known", "_request")

    def __init__(
        self,
        options: Options,
        header: Callable[[str], str | None],
        endpoint: Callable[[], str | None],
        request: Callable[[], object],
    ) -> None:
        self._endpoint = endpoint
        self._get_user = options.get_user
        self._request = request
        header_names = {
            USER_ID: None if self._get_user else options.user_header,
            SESSION_ID: options.session_header,
            _REQUEST_ID: options.request_id_header,
        }
        self._known: dict[str, str] = {
            attribute: clean(value)
            for attribute, name in header_names.items()
            if name is not None and (value := header(name))
        }

    def __getitem__(self, attribute: str) -> str:
        return self._attributes()[attribute]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes())

    def __len__(self) -> int:
        return len(self._attributes())

    def __bool__(self) -> bool:
        # Testing whether there is a layer must not load the user.
        return True

    def items(self) -> ItemsView[str, str]:
        """All that is known so far; calls the app's functions once per model call."""
        return self._attributes().items()

    def _attributes(self) -> dict[str, str]:
        known = self._known
        if ENDPOINT not in known:
            with Guard("reading a request's route"):
                if endpoint := self._endpoint():
                    known = self._known = {**known, ENDPOINT: clean(endpoint)}
        if USER_ID not in known and self._get_user is not None:
            with Guard("middleware(get_user=)"):
                user = _plain(self._get_user(self._request()))
                if user is not None:
                    known = self._known = {**known, USER_ID: clean(user)}
        return known


class Serving:
    """Runs the code of one request under its attribution: `with serving:`, as often as needed.

    Between two runs, like the steps of a streamed body, the server's own context is in effect, and
    the request's context is stored.

    Args:
        layer: the request's attribution.
        metered: whether to sum the cost of the request.
    """

    __slots__ = ("_layer", "_running", "_server", "meter")

    def __init__(self, layer: RequestLayer, *, metered: bool) -> None:
        self._layer = layer
        self._running: Context | None = None
        self._server: Context | None = None
        self.meter = Meter() if metered else None

    def __enter__(self) -> None:
        with Guard("entering a request"):
            self._server = context.get_current()
            if self._running is not None:
                context.attach(self._running)
                return
            running = without_untrusted(self._server)
            running = with_middleware(self._layer, running)
            if self.meter is not None:
                running = counted_by(self.meter, running)
            scope.enter(self, running)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        with Guard("leaving a request"):
            if isinstance(error, GeneratorExit) and not scope.is_active(self):
                # Abandoned, and closed in an unrelated context, which must not change.
                return
            if self._server is not None:
                self._running = context.get_current()
                context.attach(self._server)

    def cost_headers(self) -> dict[str, str]:
        """The headers that report the calls that have ended so far.

        The cost is US dollars as a plain decimal. It is left out while no call with a known cost
        has ended: it is unknown then, not 0.
        """
        if self.meter is None:
            return {}
        without_cost = self.meter.calls_without_cost
        headers: dict[str, str] = {}
        if self.meter.calls > without_cost:
            text = f"{self.meter.cost_usd:f}"
            headers[COST_HEADER] = text.rstrip("0").rstrip(".") if "." in text else text
        if without_cost:
            headers[WITHOUT_COST_HEADER] = str(without_cost)
        return headers


class NotServing:
    """Replaces `Serving` if a request could not be read: the request goes on."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        return None

    def cost_headers(self) -> dict[str, str]:
        """Nothing is known about the calls of such a request."""
        return {}


def serving(make: Callable[[], RequestLayer], options: Options) -> Serving | NotServing:
    """Returns what runs a request's code, even if the request cannot be read."""
    with Guard("reading a request"):
        return Serving(make(), metered=options.cost_header)
    return NotServing()


def _plain(user: object) -> object:
    """A user's id; `None` if a function returned a coroutine instead."""
    close = getattr(user, "close", None)
    if close is None or not hasattr(user, "__await__"):
        return user
    close()
    report("middleware(get_user=)", "a coroutine function; pass an ordinary function")
    return None
