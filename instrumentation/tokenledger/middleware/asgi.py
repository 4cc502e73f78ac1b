"""`FastAPIMiddleware`: attribution from the requests of any ASGI app, websockets too."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.failures import Guard
from tokenledger.middleware.requests import (
    COST_HEADER,
    Options,
    RequestLayer,
    serving,
)
from tokenledger.trust import note_remote_baggage

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

_SERVED: Final = frozenset({"http", "websocket"})
_STARTS: Final = frozenset({"http.response.start", "websocket.accept"})
_COST_HEADER: Final = COST_HEADER.lower().encode()


class FastAPIMiddleware:
    """Attributes every model call made while a request is served.

    The endpoint is the route's template (`/items/{id}`), as FastAPI and Starlette leave it in the
    scope; a path that no route knows is no endpoint, since it may hold ids.

    Args:
        app: the ASGI app behind.
        user_header: the header with the user's id; `None` reads none. Anybody can send it.
        get_user: gives the user of a request's ASGI scope; the header then is not read. It is asked
            when the first model call is made.
        session_header: the header with the session's id; `None` reads none.
        request_id_header: the header with the request's id, kept as metadata; `None` reads none.
        cost_header: whether responses say in `X-LLM-Cost` what the calls cost that ended before the
            headers were sent, in US dollars.
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
        """Serve one connection; what is no request or websocket passes through."""
        if scope["type"] not in _SERVED:
            await self._app(scope, receive, send)
            return
        served = serving(partial(_layer, self._options, scope), self._options)
        if self._options.cost_header:
            send = _telling_cost(served, send)
        with served:
            await self._app(scope, receive, send)


def _layer(options: Options, scope: Scope) -> RequestLayer:
    outside = str(scope.get("root_path") or "")
    return RequestLayer(
        options, partial(_header, scope), partial(_template, scope, outside), lambda: scope
    )


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode("latin-1")
    said = {value for key, value in scope.get("headers") or () if key.lower() == wanted}
    # Sent twice with two values, it is anybody's guess which of them a gateway set.
    return said.pop().decode("latin-1") if len(said) == 1 else None


def _telling_cost(served: Serving | NotServing, send: Send) -> Send:
    async def send_with_cost(message: MutableMapping[str, Any]) -> None:
        with Guard("telling a request's cost"):
            if message["type"] in _STARTS and (cost := served.cost_text()) is not None:
                headers = cast("Iterable[object]", message.get("headers") or ())
                message = {**message, "headers": [*headers, (_COST_HEADER, cost.encode())]}
        await send(message)

    return send_with_cost


def _template(scope: Scope, outside: str) -> str | None:
    """The route's template, with what mounts and included routers put before it.

    A route knows its own part only. The part before it is read off the path, with every parameter
    in it put back; where that leaves one over, ids could be in it, and nothing is said.

    Args:
        scope: the request's scope, after routing.
        outside: the path the whole app is served under, which is no part of its routes.
    """
    route = scope.get("route")
    own = getattr(route, "path", None)
    if not isinstance(own, str):
        return None
    path = str(scope["path"]).removeprefix(outside)
    pattern = str(getattr(getattr(route, "path_regex", None), "pattern", "")).removeprefix("^")
    found = re.search(pattern, path) if pattern else None
    before = path[: found.start()] if found else ""
    parameters = cast("Mapping[str, object]", scope.get("path_params") or {})
    left = {str(value): name for name, value in parameters.items() if not _names(own, name)}
    segments = [
        f"{{{left[segment]}}}" if segment in left else segment for segment in before.split("/")
    ]
    template = "/".join(segments) + own
    is_whole = all(_names(template, name) for name in left.values())
    return template or "/" if is_whole else None


def _names(template: str, parameter: str) -> bool:
    return f"{{{parameter}}}" in template or f"{{{parameter}:" in template
