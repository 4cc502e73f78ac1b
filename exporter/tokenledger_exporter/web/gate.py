"""Who may look: decided for each request, before the application sees it."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse

from tokenledger_exporter.access.hosts import UNKNOWN_HOST
from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.frame import EMPTY, FRAME
from tokenledger_exporter.web.headers import comes_from_elsewhere, headers_of, single
from tokenledger_exporter.web.problems import problem
from tokenledger_exporter.web.sign_in.access import peer_of
from tokenledger_exporter.web.sign_in.routes import SIGN_IN, SIGN_OUT
from tokenledger_exporter.web.sign_in.viewer import VIEWER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from starlette.responses import Response

    from tokenledger_exporter.web.frame import Frame
    from tokenledger_exporter.web.headers import Headers
    from tokenledger_exporter.web.mounted import App, MountedApp
    from tokenledger_exporter.web.sign_in.access import Access
    from tokenledger_exporter.web.sign_in.viewer import Viewer

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ORGANIZATION: Final = "tokenledger.organization"
"""Key in a request's scope: the only organization that its sender may see; "" is all."""

# What a browser needs before it has signed in, and what a load balancer asks.
_OPEN: Final = frozenset({"/health", SIGN_IN})
_STATIC: Final = "/static/"
_FORMS: Final = frozenset({SIGN_IN, SIGN_OUT})
_METHODS: Final = frozenset({"GET", "HEAD"})
_POLICY_VIOLATION: Final = 1_008
# Nothing on a page of ours comes from elsewhere, and no page of others may frame or read ours. With
# `same-origin`, unlike `no-referrer`, a browser names the origin of a form.
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Gate:
    """Refuses who may not look, and adds the security headers to every answer.

    Args:
        app: the application behind it; it only reads.
        access: who may look.
        mounted: applications that answer below a path of their own, with any method.
        frame: what stands on every page, for all viewers.
    """

    def __init__(
        self, app: App, access: Access, mounted: Sequence[MountedApp] = (), frame: Frame = EMPTY
    ) -> None:
        self._app: Final = app
        self._access: Final = access
        self._mounted: Final = tuple(mounted)
        self._frame: Final = frame

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return

        async def send_safely(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        mounted = next((each for each in self._mounted if each.answers(scope["path"])), None)
        answer = self._refusal(scope, mounted) or (mounted.app if mounted else self._app)
        await answer(scope, receive, send_safely)

    def _refusal(self, scope: Scope, mounted: MountedApp | None) -> Response | None:
        """Why a request is refused; `None` lets it pass, with its viewer in the scope."""
        headers = headers_of(scope["headers"])
        hosts = headers.get(b"host", ())
        if len(hosts) > 1 or not self._access.hosts.allow(hosts[0] if hosts else None):
            return problem(HTTPStatus.MISDIRECTED_REQUEST, UNKNOWN_HOST)
        is_form = scope["path"] in _FORMS and scope["method"] == "POST"
        reads = scope["method"] in _METHODS
        if not reads and not is_form and mounted is None:
            return _only_reads()
        if not is_form and _is_foreign(headers, reads=reads):
            detail = "a page of another server may not send requests here"
            return problem(HTTPStatus.FORBIDDEN, detail)
        # A session is for pages: a mounted application takes what only its own client can send.
        viewer = self._access.viewer_of(peer_of(scope), headers, takes_cookies=mounted is None)
        self._set_frame(viewer)
        if viewer is None:
            if is_form or scope["path"] in _OPEN or scope["path"].startswith(_STATIC):
                return None
            return self._who_are_you(scope, headers, mounted)
        scope[VIEWER], scope[ORGANIZATION] = viewer, viewer.organization
        return None

    def _set_frame(self, viewer: Viewer | None) -> None:
        name = viewer.text if viewer and viewer.has_session else ""
        organization = viewer.organization if viewer else ""
        FRAME.set(replace(self._frame, signed_in_as=name, organization=organization))

    def _who_are_you(self, scope: Scope, headers: Headers, mounted: MountedApp | None) -> Response:
        if not self._access.tokens:
            detail = "the proxy that signs people in did not send this request, or names no user"
            return problem(HTTPStatus.FORBIDDEN, detail)
        path: str = scope["path"]
        is_page = not path.startswith(PREFIX) and mounted is None
        if is_page and "text/html" in (single(headers, b"accept") or ""):
            query = scope["query_string"].decode("latin-1")
            following = quote(f"{path}?{query}" if query else path, safe="/")
            return RedirectResponse(
                f"{SIGN_IN}?next={following}",
                HTTPStatus.SEE_OTHER,
                headers={"Cache-Control": "no-store"},
            )
        # A browser would ask for a password on every request of a script of a page.
        is_script = single(headers, b"sec-fetch-mode") not in {None, "navigate"}
        kind = "Bearer" if is_script or mounted else "Basic"
        challenge = f'{kind} realm="TokenLedger"' + (', charset="UTF-8"' if kind == "Basic" else "")
        detail = "a token is required: send it as 'Authorization: Bearer TOKEN'"
        return problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def _only_reads() -> Response:
    allow = {"Allow": ", ".join(sorted(_METHODS))}
    detail = "the dashboard only reads: use GET"
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers=allow)


def _is_foreign(headers: Headers, *, reads: bool) -> bool:
    """Whether a page of another server asks, as with a picture in it.

    A link to a page may be followed from anywhere; what it shows, the other page cannot read.
    """
    if not comes_from_elsewhere(headers):
        return False
    if not reads:
        return True
    mode = headers.get(b"sec-fetch-mode", [b""])[0]
    return b"sec-fetch-site" in headers and mode != b"navigate"
