"""Options of `tokenledger dashboard`, checked before anything starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from tokenledger_exporter.errors import InvalidRequestError

DEFAULT_PORT: Final = 8_765
"""The port of TokenLedger 0.1.1's API."""


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """What the dashboard reads and who may look.

    Args:
        database_url: the ledger.
        host: address to listen on.
        port: port; 0 is any free one.
        published_on: address at which a container's port is published, if `host` is the container's
            own; "" otherwise.
        tokens: lines of allowed tokens, as `access.Tokens` takes them.
        tokens_file: file with such lines.
        server_names: allowed Host headers, in addition to addresses and `localhost`; checked if no
            token is required.
        proxy_addresses: addresses or networks of the proxy in front of it, whose headers are
            believed.
        proxy_user_header: header in which that proxy names the user it signed in.
        proxy_organization_header: header in which it names the user's only organization.
        session_hours: how long a browser stays signed in.
        session_key_file: file with the key that signs sessions; "" for a key of this process.
        timeout_seconds: the longest time that one statement may run.
        notice: what every page and every answer of the API says; "" for nothing.
        trace_url: address of a trace in the user's tracing system, with `{trace_id}` in it; "" has
            no link.

    Raises:
        InvalidRequestError: another machine could look without saying who it is, or an option is
            invalid.
    """

    database_url: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    published_on: str = ""
    tokens: str = ""
    tokens_file: str = ""
    server_names: tuple[str, ...] = ()
    proxy_addresses: tuple[str, ...] = ()
    proxy_user_header: str = ""
    proxy_organization_header: str = ""
    session_hours: float = 12.0
    session_key_file: str = ""
    timeout_seconds: float = 10.0
    notice: str = ""
    trace_url: str = ""

    def __post_init__(self) -> None:
        """Refuse an address that others can reach, unless they must say who they are."""
        is_guarded = self.tokens or self.tokens_file or self.proxy_user_header
        address = self.published_on or self.host
        if not (is_guarded or is_loopback(address)):
            raise InvalidRequestError(
                f"anyone who reaches {address} could read the ledger: use --tokens-file or "
                "--proxy-user-header, or listen on 127.0.0.1"
            )
        if self.session_hours <= 0:
            raise InvalidRequestError("--session-hours must be more than 0")
        is_web = self.trace_url.startswith(("https://", "http://"))
        if self.trace_url and not (is_web and "{trace_id}" in self.trace_url):
            raise InvalidRequestError(
                f"invalid address of traces {self.trace_url!r}: use one such as "
                "https://jaeger.example/trace/{trace_id}"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
