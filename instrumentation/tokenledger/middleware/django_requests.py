"""`DjangoMiddleware`: attribution from Django's requests, sync and async, with streamed bodies.

Options are in the project's settings, named like the arguments of `FastAPIMiddleware`:

    TOKENLEDGER_MIDDLEWARE = {"user_header": None, "get_user": "shop.users.id_of"}
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from tokenledger._attribution.baggage import note_remote_baggage
from tokenledger._guard import Guard
from tokenledger.middleware.requests import (
    Options,
    RequestLayer,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tokenledger.middleware.requests import (
        NotServing,
        Serving,
    )

SETTINGS_NAME: Final = "TOKENLEDGER_MIDDLEWARE"
"""The Django setting with the options: `user_header`, `get_user` (a function of the request, or its
dotted path), `session_header`, `request_id_header`, `cost_header`."""

Request = Any
Response = Any


class DjangoMiddleware:
    """Attributes every model call made while Django serves a request or streams its body.

    The endpoint is the route's template as the project wrote it (`items/<int:id>/`). The user is
    read when the first model call is made, so authentication may come after this middleware.

    Args:
        get_response: the next handler, from Django.
    """

    sync_capable: Final = True
    async_capable: Final = True

    def __init__(self, get_response: Callable[[Request], Response | Awaitable[Response]]) -> None:
        self._get_response = get_response
        self._options = Options()
        with Guard(f"reading {SETTINGS_NAME}"):
            self._options = _options()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(cast("Any", self))
        note_remote_baggage()

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Serve one request, or return the coroutine that does."""
        served = serving(partial(_layer, self._options, request), self._options)
        if self._is_async:
            return self._serve_async(request, served)
        with served:
            response = self._get_response(request)
        return _finished(response, served)

    async def _serve_async(self, request: Request, served: Serving | NotServing) -> Response:
        with served:
            response = await cast("Awaitable[Response]", self._get_response(request))
        return _finished(response, served)


def _options() -> Options:
    settings: Any = importlib.import_module("django.conf").settings
    options: dict[str, Any] = dict(getattr(settings, SETTINGS_NAME, {}))
    if isinstance(options.get("get_user"), str):
        module_loading: Any = importlib.import_module("django.utils.module_loading")
        options["get_user"] = module_loading.import_string(options["get_user"])
    return Options(**options)


def _layer(options: Options, request: Request) -> RequestLayer:
    return RequestLayer(options, request.headers.get, partial(_template, request), lambda: request)


def _template(request: Request) -> str | None:
    return getattr(getattr(request, "resolver_match", None), "route", None)


def _finished(response: Response, served: Serving | NotServing) -> Response:
    with Guard("finishing a request"):
        for name, value in served.cost_headers().items():
            response[name] = value
        # A file is not wrapped: the server sends it directly.
        is_file = getattr(response, "file_to_stream", None) is not None
        if getattr(response, "streaming", False) and not is_file:
            body = response.streaming_content
            is_async = getattr(response, "is_async", False)
            response.streaming_content = (
                _AsyncBody(served, body) if is_async else _Body(served, body)
            )
    return response


class _Body:
    """A streamed body; each of its steps runs under the request's attribution."""

    __slots__ = ("_served", "_steps")

    def __init__(self, served: Serving | NotServing, body: Any) -> None:  # noqa: ANN401 - any body
        self._served = served
        self._steps: Iterator[bytes] = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._served:
            return next(self._steps)


class _AsyncBody:
    """The same for an async body."""

    __slots__ = ("_served", "_steps")

    def __init__(self, served: Serving | NotServing, body: Any) -> None:  # noqa: ANN401 - any body
        self._served = served
        self._steps: AsyncIterator[bytes] = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with self._served:
            return await anext(self._steps)
