"""Who may look: the Host header on this machine alone, a token everywhere else."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.access.hosts import UNKNOWN_HOST, AllowedHosts
from tokenledger_exporter.access.tokens import Tokens
from tokenledger_exporter.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from starlette.responses import Response

    from tokenledger_exporter.web.options import DashboardOptions

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

ORGANIZATION: Final = "tokenledger.organization"
"""Key in a request's scope: the organization that its token is bound to; "" is all."""

_OPEN: Final = frozenset({"/health"})
_METHODS: Final = frozenset({"GET", "HEAD"})
_BASIC: Final = "basic "
# Nothing on a page of ours comes from elsewhere, and no page of others may frame or read ours.
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Gate:
    """Refuses what may not look, and adds the security headers to every answer.

    Args:
        app: the application behind it.
        options: who may look.

    Raises:
        InvalidRequestError: a token's line is invalid.
    """

    def __init__(self, app: App, options: DashboardOptions) -> None:
        self._app: Final = app
        self._tokens: Final = Tokens(options.tokens, options.tokens_file)
        names = (options.host, *options.server_names)
        self._hosts: Final = AllowedHosts(names, is_checked=not self._tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused; `None` lets it pass."""
        if scope["method"] not in _METHODS:
            allow = {"Allow": ", ".join(sorted(_METHODS))}
            detail = "the dashboard only reads: use GET"
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers=allow)
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        hosts = headers.get(b"host", [])
        if len(hosts) > 1 or not self._hosts.allow(hosts[0] if hosts else None):
            return problem(HTTPStatus.MISDIRECTED_REQUEST, UNKNOWN_HOST)
        scope[ORGANIZATION] = ""
        if not self._tokens or scope["path"] in _OPEN:
            return None
        values = headers.get(b"authorization", [])
        bearer = None
        if len(values) == 1:
            bearer = self._tokens.bearer_of(_as_bearer(values[0].decode("latin-1")))
        if bearer is None:
            # A browser asks for a user, which is ignored, and a password, which is the token.
            challenge = {"WWW-Authenticate": 'Basic realm="TokenLedger", charset="UTF-8"'}
            detail = "a token is required: send it as 'Authorization: Bearer TOKEN'"
            return problem(HTTPStatus.UNAUTHORIZED, detail, headers=challenge)
        scope[ORGANIZATION] = bearer.organization
        return None


def _as_bearer(authorization: str) -> str:
    """The header with the token as `Bearer`; a browser sends it as the password of `Basic`."""
    if authorization[: len(_BASIC)].lower() != _BASIC:
        return authorization
    try:
        text = base64.b64decode(authorization[len(_BASIC) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return f"Bearer {text.partition(':')[2]}"
