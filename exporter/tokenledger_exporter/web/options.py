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
        tokens: lines of allowed tokens, as `access.Tokens` takes them.
        tokens_file: file with such lines.
        server_names: allowed Host headers, in addition to addresses and `localhost`; checked if no
            token is required.
        timeout_seconds: the longest time that one statement may run.

    Raises:
        InvalidRequestError: another machine could look without a token.
    """

    database_url: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    tokens: str = ""
    tokens_file: str = ""
    server_names: tuple[str, ...] = ()
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse an address that others can reach, unless they need a token."""
        if not (self.tokens or self.tokens_file or is_loopback(self.host)):
            raise InvalidRequestError(
                f"anyone who reaches {self.host} could read the ledger: use --tokens-file, or "
                "listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
