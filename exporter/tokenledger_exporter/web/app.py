"""The application of the dashboard: its pages, the JSON API with its document, and `/health`."""

from __future__ import annotations

import hashlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from tokenledger_exporter.db.availability import Availability
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.queries.reader import Reader
from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.api.endpoints import ENDPOINTS
from tokenledger_exporter.web.api.openapi import openapi
from tokenledger_exporter.web.audit import Audit
from tokenledger_exporter.web.frame import FRAME, NOTICE_HEADER, Frame, current_frame
from tokenledger_exporter.web.gate import ORGANIZATION, Gate
from tokenledger_exporter.web.pages.all_pages import PAGES
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.parameters import read_parameters
from tokenledger_exporter.web.problems import problem, problem_of
from tokenledger_exporter.web.shared_reads import SharedReads
from tokenledger_exporter.web.sign_in.access import Access
from tokenledger_exporter.web.sign_in.routes import sign_in_routes
from tokenledger_exporter.web.sign_in.viewer import viewer_of
from tokenledger_exporter.web.static_files import VersionedFiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from tokenledger_exporter.web.api.endpoint import Connection, Endpoint
    from tokenledger_exporter.web.mounted import MountedApp
    from tokenledger_exporter.web.options import DashboardOptions
    from tokenledger_exporter.web.pages.page import Page
    from tokenledger_exporter.web.parameters import Parameter
    from tokenledger_exporter.web.problems import ProblemResponse

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Answering(Protocol[T_co]):
    """What a page and an endpoint have in common."""

    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def answer(self) -> Callable[[Connection, dict[str, Any]], T_co]: ...


_PACKAGE: Final = "tokenledger-otel"
# Figures change with every call: a browser may keep an answer, and must ask whether it still holds.
_CACHE: Final = "private, no-cache"


class _Ledger(NamedTuple):
    """What reads the ledger, and logs views of people."""

    reader: Reader
    audit: Audit
    shared: SharedReads[Any]


def create_app(options: DashboardOptions, mounted: Sequence[MountedApp] = ()) -> Gate:
    """The ASGI application.

    Args:
        options: what it shows and who may look.
        mounted: further applications behind the same gate.

    Raises:
        InvalidRequestError: a token's line, the key file or an address of the proxy is invalid.
    """
    access = Access(options)
    ledger = _Ledger(
        Reader(options.database_url, timeout_seconds=options.timeout_seconds),
        Audit(options.database_url),
        SharedReads(),
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for each in mounted:
                if each.lifespan is not None:
                    await stack.enter_async_context(each.lifespan())
            yield
        ledger.reader.close()
        ledger.audit.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[*_routes(ledger), *sign_in_routes(access)],
        middleware=[Middleware(GZipMiddleware)],
        exception_handlers={
            HTTPException: _http_problem,
            LedgerError: _ledger_problem,
            Exception: _unexpected_problem,
        },
    )
    frame = Frame(notice=options.notice, trace_url=options.trace_url)
    return Gate(app, access, mounted, frame)


def _routes(ledger: _Ledger) -> list[BaseRoute]:
    document = openapi(version(_PACKAGE))
    health = partial(_health, Availability(partial(_why_unreadable, ledger.reader)))
    return [
        Route("/health", health),
        Route(f"{PREFIX}/openapi.json", partial(_openapi, document)),
        *(Route(page.path, partial(_show, ledger, page)) for page in PAGES),
        Mount("/static", VersionedFiles()),
        *(
            Route(PREFIX + endpoint.route, partial(_answer, ledger, endpoint))
            for endpoint in ENDPOINTS
        ),
    ]


async def _answer(ledger: _Ledger, endpoint: Endpoint, request: Request) -> Response:
    document = await _read(ledger, PREFIX + endpoint.path, endpoint, request)
    notice = current_frame().notice
    if notice and isinstance(document, dict):
        document = {**document, "notice": notice}
    return _json(document, request)


async def _show(ledger: _Ledger, page: Page, request: Request) -> Response:
    text = await _read(ledger, page.path, page, request)
    return Response(text, media_type=page.media_type, headers=_headers())


async def _read(ledger: _Ledger, path: str, answering: _Answering[T], request: Request) -> T:
    """What the ledger answers to a request; read in a thread, from one snapshot.

    Requests of one viewer for the same thing share a reading, in one tab or in fifty.
    """
    values = read_parameters(answering.parameters, request.query_params.multi_items())
    values |= request.path_params
    organization: str = request.scope[ORGANIZATION]
    viewer = viewer_of(request.scope)

    def read() -> T:
        with ledger.reader.snapshot(organization) as connection:
            return answering.answer(connection, values)

    await to_thread.run_sync(ledger.audit.note, viewer, path, values)
    # The frame is part of a page: it names who is signed in.
    key = path, organization, FRAME.get(), repr(sorted(values.items()))
    answer: T = await ledger.shared.read(key, partial(to_thread.run_sync, read))
    return answer


async def _openapi(document: Mapping[str, Any], request: Request) -> Response:
    return _json(document, request)


async def _health(availability: Availability, request: Request) -> Response:
    """Whether the ledger can be read; the same fields as TokenLedger 0.1.1's."""
    del request
    is_away = bool(await availability.reason())
    fields = {
        "status": "unhealthy" if is_away else "healthy",
        "database": "unreachable" if is_away else "connected",
        "version": version(_PACKAGE),
    }
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_away else HTTPStatus.OK
    return JSONResponse(fields, status, headers={"Cache-Control": "no-store"})


def _why_unreadable(reader: Reader) -> str:
    try:
        with reader.snapshot():
            return ""
    except LedgerError as error:
        return str(error)


def _headers() -> dict[str, str]:
    """Headers of every answer: how long it may be kept, and a notice such as one of sample data."""
    notice = current_frame().notice.encode("ascii", "backslashreplace").decode()
    return {"Cache-Control": _CACHE, **({NOTICE_HEADER: notice} if notice else {})}


def _json(document: object, request: Request) -> Response:
    """The document, or 304 if the client has it already."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, **_headers()}
    known = {
        each.strip().removeprefix("W/")
        for each in request.headers.get("if-none-match", "").split(",")
    }
    if tag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is no {request.url.path}; {PREFIX}/openapi.json lists the paths"
    return _as_asked(request, problem(error.status_code, detail, headers=error.headers))


async def _ledger_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, LedgerError):
        raise error
    return _as_asked(request, problem_of(error))


async def _unexpected_problem(request: Request, error: Exception) -> Response:
    # The class alone: the text of an error may hold a value of the ledger.
    warn("dashboard_failed", f"{request.url.path} failed ({type(error).__name__})")
    detail = "the dashboard failed; its log has the error"
    return _as_asked(request, problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


def _as_asked(request: Request, response: ProblemResponse) -> Response:
    """The error as a page, unless the API was asked."""
    if request.url.path.startswith(PREFIX):
        return response
    fields: dict[str, Any] = json.loads(bytes(response.body))
    text = html("problem", "", title=fields["title"], detail=fields["detail"])
    retry = response.headers.get("retry-after")
    headers = {"Retry-After": retry} if retry else None
    return HTMLResponse(text, response.status_code, headers=headers)
