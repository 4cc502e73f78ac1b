"""What `tokenledger serve` was told, checked before anything listens."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

import msgspec

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.server.auth import Tokens
from tokenledger_exporter.server.transport.certificates import GRPC_PARTS, PARTS

MIB: Final = 1_048_576
_LARGEST_PORT: Final = 65_535


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the service; each is an argument of the command and a variable of its own.

    Args:
        database_url: the ledger.
        host: address to listen on.
        port: of HTTP; 0 lets the system choose.
        grpc_port: of gRPC; 0 is off.
        workers: processes that answer.
        tokens: lines `organization:sha256`.
        tokens_file: a file of such lines.
        tls_cert: certificate chain, PEM.
        tls_key: its key, PEM.
        tls_client_ca: authority whose certificates clients must have, PEM.
        tls_client_organization: which part of a client's certificate names its organization: `cn`,
            `o` or `san`; "" binds nobody.
        server_names: Host headers that are answered, beside addresses and localhost, where neither
            tokens nor certificates say who may send.
        sender_days: how long ago a call may have begun that a sender bound to an organization
            reports.
        most_days: the same of any other sender.
        most_body_bytes: how large a request may be, uncompressed.
        most_waiting: model calls that may wait for their COMMIT, each worker.
        most_values: values a dimension may have in an hour, each worker; 0 for any number.
        keeps: whether to settle rows and make months ahead beside answering.
    """

    database_url: str
    host: str = "127.0.0.1"
    port: int = 4318
    grpc_port: int = 4317
    workers: int = 1
    tokens: str = ""
    tokens_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    tls_client_organization: str = ""
    server_names: tuple[str, ...] = ()
    sender_days: int = 30
    most_days: int = 400
    most_body_bytes: int = 4 * MIB
    most_waiting: int = 10_000
    most_values: int = 10_000
    keeps: bool = True

    def check(self) -> None:
        """Refuse what would not be safe or could not work.

        Raises:
            UsageError: it says which option, and what to do.
        """
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidRequestError("--tls-cert and --tls-key go together: give both")
        if self.tls_client_ca and not self.tls_cert:
            raise InvalidRequestError("--tls-client-ca needs --tls-cert and --tls-key")
        self._check_certificate_part()
        for path in filter(None, (self.tls_cert, self.tls_key, self.tls_client_ca)):
            self.read(path)
        if self.port and self.port == self.grpc_port:
            raise InvalidRequestError(
                f"--port and --grpc-port are both {self.port}: give two ports"
            )
        for port in (self.port, self.grpc_port):
            if not 0 <= port <= _LARGEST_PORT:
                raise InvalidRequestError(f"{port} is no port: give 0 to {_LARGEST_PORT}")
        has_tokens = bool(Tokens(self.tokens, self.tokens_file))
        if not (self.is_loopback or has_tokens or self.tls_client_ca):
            raise InvalidRequestError(
                f"{self.host} can be reached from other machines, and anybody there could write to "
                "the ledger: give --tokens-file (make a token with 'tokenledger serve --new-token "
                "ORGANIZATION') or --tls-client-ca, or listen on 127.0.0.1"
            )

    def _check_certificate_part(self) -> None:
        part = self.tls_client_organization
        if not part:
            return
        if part not in PARTS:
            raise InvalidRequestError(f"--tls-client-organization is one of {', '.join(PARTS)}")
        if not self.tls_client_ca:
            raise InvalidRequestError("--tls-client-organization needs --tls-client-ca")
        if self.grpc_port and part not in GRPC_PARTS:
            raise InvalidRequestError(
                f"gRPC does not know the part {part} of a certificate: choose "
                f"{' or '.join(sorted(GRPC_PARTS))}, or --grpc-port 0"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def bracketed_host(self) -> str:
        """The host as it stands before a port."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @staticmethod
    def read(path: str) -> bytes:
        """A file's bytes.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise InvalidRequestError(f"{path} cannot be read ({type(error).__name__})") from None
