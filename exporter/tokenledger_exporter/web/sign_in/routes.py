"""The sign-in page: a form that takes a token, and the end of a session."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import anyio
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from tokenledger_exporter.log import warn
from tokenledger_exporter.web.headers import comes_from_here, headers_of, is_plain_http
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.sign_in.access import is_secure, peer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from tokenledger_exporter.web.sign_in.access import Access

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

_HOME: Final = "/"
_MAX_BODY: Final = 8_192
_BODY_SECONDS: Final = 10.0
_NO_STORE: Final = {"Cache-Control": "no-store"}

_UNKNOWN: Final = "This token is not valid here. Check it, or ask for a new one."
_NOT_FROM_HERE: Final = "The form was not sent by this page. Open the dashboard again and sign in."
_NO_TLS: Final = (
    "The dashboard was opened over plain HTTP, where others can read what is sent, so the browser "
    "would not keep the session. Open it over HTTPS, or through an SSH tunnel to this machine."
)


def sign_in_routes(access: Access) -> list[Route]:
    """The routes of the sign-in page.

    Args:
        access: who may look.
    """
    return [
        Route(SIGN_IN, partial(_show_form, access), methods=["GET"]),
        Route(SIGN_IN, partial(_sign_in, access), methods=["POST"]),
        Route(SIGN_OUT, partial(_sign_out, access), methods=["POST"]),
    ]


def local_path(text: str) -> str:
    """The path and query to go on to; the overview if it would lead to another server.

    Args:
        text: what the address of the page says.
    """
    if not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable():
        return _HOME
    try:
        parts = urlsplit(text)
    except ValueError:
        return _HOME
    is_local = not parts.scheme and not parts.netloc and "\\" not in parts.path
    return text if is_local and parts.path not in {SIGN_IN, SIGN_OUT} else _HOME


async def _show_form(access: Access, request: Request) -> Response:
    following = local_path(request.query_params.get("next", _HOME))
    headers = headers_of(request.scope["headers"])
    viewer = access.viewer_of(peer_of(request.scope), headers)
    if not access.tokens or viewer is not None:
        return _go(following)
    return _form(following)


async def _sign_in(access: Access, request: Request) -> Response:
    headers = headers_of(request.scope["headers"])
    if not comes_from_here(headers):
        return _form(_HOME, _NOT_FROM_HERE, HTTPStatus.FORBIDDEN)
    fields = await _fields(request)
    following = local_path(fields.get("next", _HOME))
    if not access.tokens:
        return _go(following)
    address = access.client_of(request.scope, headers)
    if wait := access.attempts.wait_seconds(address):
        message = f"There were too many wrong tokens. Try again in {wait} seconds."
        return _form(following, message, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(wait)})
    token = fields.get("token", "").strip()
    viewer = access.holder_of(token)
    if viewer is None:
        access.attempts.note_failure(address)
        warn("sign_in_refused", "a wrong token was tried on the sign-in page")
        return _form(following, _UNKNOWN, HTTPStatus.FORBIDDEN)
    secure = is_secure(headers)
    if secure and is_plain_http(headers):
        return _form(following, _NO_TLS, HTTPStatus.FORBIDDEN)
    response = _go(following)
    response.headers.append("Set-Cookie", access.session_cookie(token, is_secure=secure))
    return response


async def _sign_out(access: Access, request: Request) -> Response:
    headers = headers_of(request.scope["headers"])
    if not comes_from_here(headers):
        return _form(_HOME, _NOT_FROM_HERE, HTTPStatus.FORBIDDEN)
    session = access.sessions.session_of(headers)
    if session is not None:
        access.sessions.end(session)
    response = _go(SIGN_IN if access.tokens else _HOME)
    for cookie in access.sessions.expired_cookies():
        response.headers.append("Set-Cookie", cookie)
    return response


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a small form; empty if it is too large, too slow or no form."""
    body = bytearray()
    try:
        with anyio.fail_after(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _MAX_BODY:
                    return {}
    except TimeoutError:
        return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


def _form(
    following: str,
    error: str = "",
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    text = html("sign_in", "", following=following, error=error)
    return HTMLResponse(text, status, headers={**_NO_STORE, **(headers or {})})


def _go(path: str) -> RedirectResponse:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, headers=_NO_STORE)
