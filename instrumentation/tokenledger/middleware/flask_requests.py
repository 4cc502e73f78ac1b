"""`TokenLedger(app)`: attribution from the requests of a Flask app, with streamed bodies."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
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
    from collections.abc import Iterator

    from flask import Flask

    from tokenledger.middleware.requests import (
        NotServing,
        Serving,
    )

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_REQUEST: Final = "tokenledger.request"
_LAYER: Final = "tokenledger.layer"


class TokenLedger:
    """Attributes every model call made while a Flask app serves a request or streams its body.

    The endpoint is the rule's template (`/items/<int:id>`).

    Args:
        app: the app; `None` if `init_app` is called later.
        user_header: the header with the user's id; `None` reads none. Anyone can send it.
        get_user: returns the user of a `flask.Request`, in place of the header. It is called when
            the first model call is made.
        session_header: the header with the session's id; `None` reads none.
        request_id_header: the header with the request's id, stored as metadata; `None` reads none.
        cost_header: whether responses report in `X-LLM-Cost`, in US dollars, the cost of the calls
            that ended before the headers were sent; there is no such header if the cost of none
            is known. `X-LLM-Calls-Without-Cost` counts the calls that it leaves out.
    """

    def __init__(  # noqa: PLR0913 - one keyword per option
        self,
        app: Flask | None = None,
        *,
        user_header: str | None = "X-User-ID",
        get_user: Callable[[Any], object] | None = None,
        session_header: str | None = "X-Session-ID",
        request_id_header: str | None = "X-Request-ID",
        cost_header: bool = False,
    ) -> None:
        self._options = Options(
            user_header, get_user, session_header, request_id_header, cost_header
        )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Attribute this app's requests; calling it again changes nothing."""
        if app.extensions.get("tokenledger") is not None:
            return
        app.extensions["tokenledger"] = self
        note_remote_baggage()
        flask: Any = importlib.import_module("flask")
        # The signal comes before every `before_request`, in any order of registration.
        flask.request_started.connect(_note_request, app)
        flask.request_finished.connect(_read_user_before_the_body, app)
        inner: WsgiApp = app.wsgi_app
        cast("Any", app).wsgi_app = partial(self._serve, inner)

    def _serve(
        self, inner: WsgiApp, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        served = serving(partial(self._layer, environ), self._options)
        if self._options.cost_header:
            start_response = _with_cost(served, start_response)
        with served:
            body = inner(environ, start_response)
        file_wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
            # A file is not wrapped: the server sends it directly.
            return body
        return _Body(served, body)

    def _layer(self, environ: Environ) -> RequestLayer:
        layer = RequestLayer(
            self._options,
            partial(_header, environ),
            partial(_template, environ),
            lambda: environ.get(_REQUEST),
        )
        environ[_LAYER] = layer
        return layer


class _Body:
    """A response body; each of its steps runs under the request's attribution."""

    __slots__ = ("_body", "_served", "_steps")

    def __init__(self, served: Serving | NotServing, body: Iterable[bytes]) -> None:
        self._served = served
        self._body = body
        self._steps: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._served:
            if self._steps is None:
                self._steps = iter(self._body)
            return next(self._steps)

    def close(self) -> None:
        """Close the app's body, as the server asks."""
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._served:
                close()


def _header(environ: Environ, name: str) -> str | None:
    value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    return value if isinstance(value, str) else None


def _template(environ: Environ) -> str | None:
    rule = getattr(environ.get(_REQUEST), "url_rule", None)
    return getattr(rule, "rule", None)


def _note_request(_app: object, **_signal: object) -> None:
    with Guard("noting a Flask request"):
        request = _current_request()
        request.environ[_REQUEST] = request


def _read_user_before_the_body(_app: object, response: Any, **_signal: object) -> None:  # noqa: ANN401 - any Flask response
    """Read the user while the request's proxies still work: they do not in a streamed body."""
    with Guard("reading a Flask request's user"):
        if response.is_streamed:
            len(_current_request().environ.get(_LAYER, ()))


def _current_request() -> Any:  # noqa: ANN401 - the request itself, not its proxy
    flask: Any = importlib.import_module("flask")
    return flask.request._get_current_object()  # noqa: SLF001 - werkzeug's documented way


def _with_cost(served: Serving | NotServing, start_response: StartResponse) -> StartResponse:
    def start_with_cost(
        status: str, headers: list[tuple[str, str]], *error: object
    ) -> Callable[[bytes], object]:
        with Guard("reporting a request's cost"):
            headers = [*headers, *served.cost_headers().items()]
        return start_response(status, headers, *error)

    return start_with_cost
