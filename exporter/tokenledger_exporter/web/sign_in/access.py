"""Finds out who sent a request: by proxy, Authorization header or cookie, in this order."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.access.hosts import AllowedHosts, is_local_host
from tokenledger_exporter.access.tokens import Tokens, token_hash
from tokenledger_exporter.web.headers import single
from tokenledger_exporter.web.sign_in.attempts import Attempts
from tokenledger_exporter.web.sign_in.proxy import TrustedProxy
from tokenledger_exporter.web.sign_in.sessions import Sessions
from tokenledger_exporter.web.sign_in.viewer import THIS_MACHINE, token_viewer

if TYPE_CHECKING:
    from tokenledger_exporter.web.headers import Headers
    from tokenledger_exporter.web.options import DashboardOptions
    from tokenledger_exporter.web.sign_in.viewer import Viewer

_BEARER, _BASIC = "bearer ", "basic "


class Access:
    """Who may look, as the options say.

    Args:
        options: the options of the dashboard.

    Raises:
        InvalidRequestError: a token's line, the key file or an address of the proxy is invalid.
    """

    def __init__(self, options: DashboardOptions) -> None:
        self.tokens: Final = Tokens(options.tokens, options.tokens_file)
        self.sessions: Final = Sessions(options.session_hours, options.session_key_file)
        self.attempts: Final = Attempts()
        self.proxy: Final = TrustedProxy(
            options.proxy_addresses, options.proxy_user_header, options.proxy_organization_header
        )
        names = (options.host, *options.server_names)
        # A page of another server may act under this machine's address, but never with a token.
        is_checked = not self.needs_credentials or (
            self.proxy.names_users and self.proxy.is_on_this_machine
        )
        self.hosts: Final = AllowedHosts(names, is_checked=is_checked)

    @property
    def needs_credentials(self) -> bool:
        """Whether a viewer must be identified; otherwise anyone on this machine may look."""
        return bool(self.tokens) or self.proxy.names_users

    def viewer_of(
        self, peer: str, headers: Headers, *, takes_cookies: bool = True
    ) -> Viewer | None:
        """Who sent a request; `None` if it is not known.

        Args:
            peer: the address of the connection's other end.
            headers: the request's headers.
            takes_cookies: whether a session identifies its viewer.
        """
        if not self.needs_credentials:
            return THIS_MACHINE
        if self.proxy.names_users and self.proxy.sent(peer):
            viewer = self.proxy.viewer_of(headers)
            if viewer is not None:
                return viewer
        if b"authorization" in headers:
            return self.holder_of(_token_in(single(headers, b"authorization") or ""))
        session = self.sessions.session_of(headers) if takes_cookies else None
        if session is None:
            return None
        # Each request looks the token up, so that a revoked token ends its sessions.
        bearer = self.tokens.bearer_of_hash(session.token_hash)
        if bearer is None:
            return None
        return token_viewer(session.token_hash, bearer.organization, has_session=True)

    def holder_of(self, token: str) -> Viewer | None:
        """The holder of a token; `None` for an unknown one."""
        bearer = self.tokens.bearer_of_hash(token_hash(token))
        return token_viewer(token_hash(token), bearer.organization) if bearer else None

    def session_cookie(self, token: str, *, is_secure: bool) -> str:
        """The Set-Cookie header that begins a session of a token's holder."""
        return self.sessions.cookie(token_hash(token), is_secure=is_secure)

    def client_of(self, scope: Any, headers: Headers) -> str:  # noqa: ANN401 - an ASGI scope
        """The address that a request came from."""
        return self.proxy.client_of(peer_of(scope), headers)


def peer_of(scope: Any) -> str:  # noqa: ANN401 - an ASGI scope
    """The address of the other end of a request's connection; "" if it is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_secure(headers: Headers) -> bool:
    """Whether a cookie must stay on HTTPS: everywhere but on this machine."""
    return not is_local_host(single(headers, b"host") or "")


def _token_in(authorization: str) -> str:
    """The token of an Authorization header; a browser sends it as the password of `Basic`."""
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    if authorization[: len(_BASIC)].lower() != _BASIC:
        return ""
    try:
        text = base64.b64decode(authorization[len(_BASIC) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2]
