"""The application of the dashboard: `/health`, the JSON API and its OpenAPI document."""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.queries.reader import Reader
from tokenledger_exporter.web.endpoint import PREFIX
from tokenledger_exporter.web.endpoints import ENDPOINTS
from tokenledger_exporter.web.gate import ORGANIZATION, Gate
from tokenledger_exporter.web.openapi import openapi
from tokenledger_exporter.web.parameters import read_parameters
from tokenledger_exporter.web.problems import problem, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.requests import Request

    from tokenledger_exporter.web.endpoint import Endpoint
    from tokenledger_exporter.web.options import DashboardOptions

_PACKAGE: Final = "tokenledger-otel"
# Figures change with every call: a browser may keep an answer, and must ask whether it still holds.
_CACHE: Final = "private, no-cache"


def create_app(options: DashboardOptions) -> Gate:
    """The ASGI application.

    Raises:
        InvalidRequestError: a token's line is invalid.
    """
    reader = Reader(options.database_url, timeout_seconds=options.timeout_seconds)
    document = openapi(version(_PACKAGE))

    @asynccontextmanager
    async def closing_reader(_app: Starlette) -> AsyncGenerator[None]:
        yield
        reader.close()

    app = Starlette(
        lifespan=closing_reader,
        routes=[
            Route("/health", partial(_health, reader)),
            Route(f"{PREFIX}/openapi.json", partial(_openapi, document)),
            *(
                Route(PREFIX + endpoint.path, partial(_answer, reader, endpoint))
                for endpoint in ENDPOINTS
            ),
        ],
        exception_handlers={
            HTTPException: _http_problem,
            LedgerError: _ledger_problem,
            Exception: _unexpected_problem,
        },
    )
    return Gate(app, options)


async def _answer(reader: Reader, endpoint: Endpoint, request: Request) -> Response:
    values = read_parameters(endpoint.parameters, request.query_params.multi_items())
    values |= request.path_params
    organization: str = request.scope[ORGANIZATION]
    document = await to_thread.run_sync(_read, reader, endpoint, values, organization)
    return _json(document, request)


def _read(reader: Reader, endpoint: Endpoint, values: dict[str, Any], organization: str) -> object:
    with reader.snapshot(organization) as connection:
        return endpoint.answer(connection, values)


async def _openapi(document: Mapping[str, Any], request: Request) -> Response:
    return _json(document, request)


async def _health(reader: Reader, request: Request) -> Response:
    """Whether the ledger can be read; the same fields as TokenLedger 0.1.1's."""
    del request
    status, database = HTTPStatus.OK, "connected"
    try:
        await to_thread.run_sync(_probe, reader)
    except LedgerError:
        status, database = HTTPStatus.SERVICE_UNAVAILABLE, "unreachable"
    words = {HTTPStatus.OK: "healthy", HTTPStatus.SERVICE_UNAVAILABLE: "unhealthy"}
    fields = {"status": words[status], "database": database, "version": version(_PACKAGE)}
    return JSONResponse(fields, status, headers={"Cache-Control": "no-store"})


def _probe(reader: Reader) -> None:
    with reader.snapshot():
        return


def _json(document: object, request: Request) -> Response:
    """The document, or 304 if the client has it already."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE}
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
    return problem(error.status_code, detail, headers=error.headers)


async def _ledger_problem(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, LedgerError):
        raise error
    return problem_of(error)


async def _unexpected_problem(request: Request, error: Exception) -> Response:
    # The class alone: the text of an error may hold a value of the ledger.
    warn("dashboard_failed", f"{request.url.path} failed ({type(error).__name__})")
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the dashboard failed; its log has the error")
