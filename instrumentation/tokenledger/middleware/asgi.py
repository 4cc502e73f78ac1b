"""`FastAPIMiddleware`: attribution from the requests and websockets of any ASGI app."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._attribution.baggage import note_remote_baggage
from tokenledger._guard import Guard
from tokenledger.middleware.requests import (
    Options,
    RequestLayer,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tokenledger.middleware.requests import (
        NotServing,
        Serving,
    )

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HANDLED_SCOPE_TYPES: Final = frozenset({"http", "websocket"})
_STARTS: Final = frozenset({"http.response.start", "websocket.accept"})


class FastAPIMiddleware:
    """Attributes every model call made while a request is served.

    The endpoint is the route's template (`/items/{id}`), which FastAPI and Starlette put into the
    scope. A path without a route is not used, since it may contain ids.

    Args:
        app: the wrapped ASGI app.
        user_header: the header with the user's id; `None` reads none. Anyone can send it.
        get_user: returns the user of a request's ASGI scope, in place of the header. It is called
            when the first model call is made.
        session_header: the header with the session's id; `None` reads none.
        request_id_header: the header with the request's id, stored as metadata; `None` reads none.
        cost_header: whether responses report in `X-LLM-Cost`, in US dollars, the cost of the calls
            that ended before the headers were sent; there is no such header if the cost of none
            is known. `X-LLM-Calls-Without-Cost` counts the calls that it leaves out.
    """

    def __init__(  # noqa: PLR0913 - one keyword per option
        self,
        app: App,
        *,
        user_header: str | None = "X-User-ID",
        get_user: Callable[[Scope], object] | None = None,
        session_header: str | None = "X-Session-ID",
        request_id_header: str | None = "X-Request-ID",
        cost_header: bool = False,
    ) -> None:
        self._app = app
        self._options = Options(
            user_header, get_user, session_header, request_id_header, cost_header
        )
        note_remote_baggage()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but a request or a websocket passes through."""
        if scope["type"] not in _HANDLED_SCOPE_TYPES:
            await self._app(scope, receive, send)
            return
        served = serving(partial(_layer, self._options, scope), self._options)
        if self._options.cost_header:
            send = _with_cost(served, send)
        with served:
            await self._app(scope, receive, send)


def _layer(options: Options, scope: Scope) -> RequestLayer:
    outside = str(scope.get("root_path") or "")
    return RequestLayer(
        options, partial(_header, scope), partial(_template, scope, outside), lambda: scope
    )


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode("latin-1")
    values = {value for key, value in scope.get("headers") or () if key.lower() == wanted}
    # With two different values, it is unknown which one a gateway set.
    return values.pop().decode("latin-1") if len(values) == 1 else None


def _with_cost(served: Serving | NotServing, send: Send) -> Send:
    async def send_with_cost(message: MutableMapping[str, Any]) -> None:
        with Guard("reporting a request's cost"):
            if message["type"] in _STARTS and (costs := served.cost_headers()):
                headers = cast("Iterable[object]", message.get("headers") or ())
                more = [(name.lower().encode(), value.encode()) for name, value in costs.items()]
                message = {**message, "headers": [*headers, *more]}
        await send(message)

    return send_with_cost


def _template(scope: Scope, outside: str) -> str | None:
    """The route's template, including the prefixes of mounts and included routers.

    A route knows only its own part. The prefix comes from the path, with each parameter's value
    replaced by its name. If a parameter cannot be placed, the prefix could contain ids, and the
    template is `None`.

    Args:
        scope: the request's scope, after routing.
        outside: the path that the whole app is served under, which its routes do not contain.
    """
    route = scope.get("route")
    own = getattr(route, "path", None)
    if not isinstance(own, str):
        return None
    path = str(scope["path"]).removeprefix(outside)
    pattern = str(getattr(getattr(route, "path_regex", None), "pattern", "")).removeprefix("^")
    match = re.search(pattern, path) if pattern else None
    prefix = path[: match.start()] if match else ""
    parameters = cast("Mapping[str, object]", scope.get("path_params") or {})
    left = {str(value): name for name, value in parameters.items() if not _names(own, name)}
    segments = [
        f"{{{left[segment]}}}" if segment in left else segment for segment in prefix.split("/")
    ]
    template = "/".join(segments) + own
    is_whole = all(_names(template, name) for name in left.values())
    return template or "/" if is_whole else None


def _names(template: str, parameter: str) -> bool:
    return f"{{{parameter}}}" in template or f"{{{parameter}:" in template
