"""The options of `tokenledger serve`, checked before the service listens."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

import msgspec

from tokenledger_exporter.access.tokens import Tokens
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.server.certificates import GRPC_PARTS, PARTS

MIB: Final = 1_048_576
_MAX_PORT: Final = 65_535


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the service; each is an option of the command and an environment variable.

    Args:
        database_url: the ledger.
        host: address to listen on.
        port: port for HTTP; 0 lets the system choose.
        grpc_port: port for gRPC; 0 disables it.
        workers: number of worker processes.
        tokens: lines `organization:sha256`.
        tokens_file: path of a file with such lines.
        tls_cert: path of the certificate chain (PEM).
        tls_key: path of its private key (PEM).
        tls_client_ca: path of the authority that must have signed client certificates (PEM).
        tls_client_organization: the part of a client's certificate that names its organization:
            `cn`, `o` or `san`; "" if clients are not bound to one.
        server_names: allowed Host headers, in addition to IP addresses and localhost; checked if
            neither tokens nor client certificates are required.
        max_age_days: maximum age of a call from a sender that is bound to an organization.
        max_age_days_trusted: maximum age of a call from any other sender.
        max_body_bytes: maximum size of a request, uncompressed.
        max_waiting: model calls of a worker that may wait for their COMMIT.
        max_values: values a dimension may have per hour and worker; 0 for any number.
        runs_maintenance: whether to run the maintenance of `tokenledger keep` as well.
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
    max_age_days: int = 30
    max_age_days_trusted: int = 400
    max_body_bytes: int = 4 * MIB
    max_waiting: int = 10_000
    max_values: int = 10_000
    runs_maintenance: bool = True

    def check(self) -> None:
        """Refuse options that are unsafe or cannot work.

        Raises:
            InvalidRequestError: the message names the option and says what to do.
        """
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidRequestError("--tls-cert and --tls-key must be used together")
        if self.tls_client_ca and not self.tls_cert:
            raise InvalidRequestError("--tls-client-ca requires --tls-cert and --tls-key")
        self._check_certificate_part()
        for path in filter(None, (self.tls_cert, self.tls_key, self.tls_client_ca)):
            self.read(path)
        if self.port and self.port == self.grpc_port:
            raise InvalidRequestError(
                f"--port and --grpc-port are both {self.port}; use two different ports"
            )
        for port in (self.port, self.grpc_port):
            if not 0 <= port <= _MAX_PORT:
                raise InvalidRequestError(f"a port must be 0 to {_MAX_PORT}, not {port}")
        has_tokens = bool(Tokens(self.tokens, self.tokens_file))
        if not (self.is_loopback or has_tokens or self.tls_client_ca):
            raise InvalidRequestError(
                f"{self.host} is reachable from other machines, so any client could write to the "
                "ledger; "
                "use --tokens-file (create a token with 'tokenledger serve --new-token "
                "ORGANIZATION') or --tls-client-ca, or listen on 127.0.0.1"
            )

    def _check_certificate_part(self) -> None:
        part = self.tls_client_organization
        if not part:
            return
        if part not in PARTS:
            raise InvalidRequestError(
                f"--tls-client-organization must be one of {', '.join(PARTS)}, not {part!r}"
            )
        if not self.tls_client_ca:
            raise InvalidRequestError("--tls-client-organization requires --tls-client-ca")
        if self.grpc_port and part not in GRPC_PARTS:
            raise InvalidRequestError(
                f"gRPC does not report the part {part!r} of a certificate; use "
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
        """The host in the form used before a port; IPv6 addresses are in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @staticmethod
    def read(path: str) -> bytes:
        """The content of a file.

        Raises:
            InvalidRequestError: the file cannot be read.
        """
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise InvalidRequestError(f"cannot read {path} ({type(error).__name__})") from None
