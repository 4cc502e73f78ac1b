"""A proxy that signs people in and names them in a header, believed from its own address alone."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, TypeAlias

from tokenledger_exporter.access.tokens import ANY_ORGANIZATION
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.headers import single
from tokenledger_exporter.web.sign_in.viewer import PROXY_USER, Viewer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.web.headers import Headers

_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
_MAX_NAME: Final = 255
_FORWARDED: Final = b"x-forwarded-for"


class TrustedProxy:
    """The proxy in front of the dashboard.

    Args:
        addresses: its addresses or networks: `10.0.0.5`, `10.0.0.0/24`.
        user_header: the header that names the user; "" if it only forwards.
        organization_header: the header that names the only organization that the user may see; ""
            if every user may see every one.

    Raises:
        InvalidRequestError: an address is invalid, or a header has no address to be believed from.
    """

    def __init__(
        self, addresses: Sequence[str], user_header: str = "", organization_header: str = ""
    ) -> None:
        self._networks: Final = tuple(map(_network, addresses))
        self._user: Final = user_header.lower().encode()
        self._organization: Final = organization_header.lower().encode()
        if self._user and not self._networks:
            raise InvalidRequestError(
                f"anyone could send {user_header}: name the proxy with --proxy-address"
            )
        if self._organization and not self._user:
            raise InvalidRequestError("--proxy-organization-header needs --proxy-user-header")

    @property
    def names_users(self) -> bool:
        """Whether it signs people in."""
        return bool(self._user)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether a page in a browser on this machine has the proxy's address, too."""
        return any(network.network_address.is_loopback for network in self._networks)

    def sent(self, peer: str) -> bool:
        """Whether a request with this peer address came through the proxy."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def viewer_of(self, headers: Headers) -> Viewer | None:
        """Who the proxy says sent a request; `None` if it does not say so clearly."""
        user = _text(headers, self._user)
        if not user:
            return None
        if not self._organization:
            return Viewer(PROXY_USER, user)
        organization = _text(headers, self._organization)
        if not organization:
            return None
        bound_to = "" if organization == ANY_ORGANIZATION else organization
        return Viewer(PROXY_USER, user, bound_to)

    def client_of(self, peer: str, headers: Headers) -> str:
        """The address that a request came from: what the proxy added to X-Forwarded-For last."""
        if not self.sent(peer) or not headers.get(_FORWARDED):
            return peer
        return headers[_FORWARDED][-1].decode("latin-1").rpartition(",")[2].strip() or peer


def _text(headers: Headers, name: bytes) -> str:
    """The text of a header; "" if it is missing, repeated, too long or no text."""
    value = single(headers, name)
    if value is None:
        return ""
    try:
        text = value.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= _MAX_NAME and text.isprintable() else ""


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidRequestError(
            f"invalid --proxy-address {text!r}: use an address such as 10.0.0.5, or a network such "
            "as 10.0.0.0/24"
        ) from None
