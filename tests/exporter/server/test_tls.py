"""TLS and client certificates."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.ledger_rows import ask
from support.otlp_requests import body, call
from support.otlp_service import exporting, serving
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.server.admission import REQUEST_SECONDS
from tokenledger_exporter.server.options import ServeOptions

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def certificate(
    folder: Path, name: str, signer: tuple[x509.Name, EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Name, EllipticCurvePrivateKey]:
    """Write `<name>.pem` and `<name>.key`, signed by `signer`, or self-signed as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing = signer or (subject, key)
    now = dt.datetime.now(dt.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


def test_only_clients_with_a_certificate_from_the_authority_are_accepted(
    database_url: str, tmp_path: Path
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", authority)
    certificate(tmp_path, "client", authority)
    files = {name: str(tmp_path / name) for name in ("authority.pem", "client.pem", "client.key")}
    arguments = (
        *("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key")),
        *("--tls-client-ca", files["authority.pem"], "--host", "0.0.0.0"),  # noqa: S104 - mTLS allows it
    )
    without_certificate = ssl.create_default_context(cafile=files["authority.pem"])
    with_certificate = ssl.create_default_context(cafile=files["authority.pem"])
    with_certificate.load_cert_chain(files["client.pem"], files["client.key"])
    with serving(database_url, *arguments, grpc=True, speaks_tls=True) as service:
        url = f"https://localhost:{service.port}"
        with pytest.raises((urllib.error.URLError, OSError)):
            urllib.request.urlopen(f"{url}/health", context=without_certificate).read()  # noqa: S310 - a local address
        with urllib.request.urlopen(f"{url}/health", context=with_certificate) as answer:  # noqa: S310 - a local address
            assert answer.status == 200
        contents = {name: Path(file).read_bytes() for name, file in files.items()}
        credentials = grpc.ssl_channel_credentials(
            contents["authority.pem"], contents["client.key"], contents["client.pem"]
        )
        with grpc.secure_channel(f"localhost:{service.grpc_port}", credentials) as channel:
            assert exporting(channel)(body(call()), timeout=10) == b""
        anonymous = grpc.ssl_channel_credentials(contents["authority.pem"])
        with (
            grpc.secure_channel(f"localhost:{service.grpc_port}", anonymous) as channel,
            pytest.raises(grpc.RpcError),
        ):
            exporting(channel)(body(call()), timeout=2)


def test_a_certificate_binds_its_client_to_an_organization(
    database_url: str, tmp_path: Path
) -> None:
    """Over HTTP and gRPC; neither the span nor another organization's token can change it."""
    authority = certificate(tmp_path, "authority")
    for name in ("server", "acme", "globex"):
        certificate(tmp_path, name, authority)
    pem = str(tmp_path / "authority.pem")
    arguments = (
        *("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key")),
        *("--tls-client-ca", pem, "--tls-client-organization", "cn"),
    )
    globex_token, operator_token = new_token(), new_token()
    lines = f"{token_line('globex', globex_token)},{token_line('*', operator_token)}"
    acme = ssl.create_default_context(cafile=pem)
    acme.load_cert_chain(tmp_path / "acme.pem", tmp_path / "acme.key")
    claims = body(call({"tokenledger.organization_id": "globex"}))
    with serving(
        database_url, *arguments, grpc=True, speaks_tls=True, TOKENLEDGER_SERVER_TOKENS=lines
    ) as service:
        url = f"https://localhost:{service.port}/v1/traces"

        def send(token: str) -> int:
            headers = {
                "content-type": "application/x-protobuf",
                "authorization": f"Bearer {token}",
            }
            request = urllib.request.Request(url, claims, headers)
            try:
                with urllib.request.urlopen(request, context=acme) as answer:  # noqa: S310 - a local address
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert (send(operator_token), send(globex_token)) == (200, 401)
        contents = [
            (tmp_path / name).read_bytes() for name in ("authority.pem", "acme.key", "acme.pem")
        ]
        credentials = grpc.ssl_channel_credentials(*contents)
        metadata = (("authorization", f"Bearer {operator_token}"),)
        with grpc.secure_channel(f"localhost:{service.grpc_port}", credentials) as channel:
            exporting(channel)(body(call()), metadata=metadata, timeout=10)
    query = "SELECT DISTINCT organization_id FROM token_ledger_events"
    assert ask(database_url, query) == [("acme",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tls_client_organization": "cn"}, "requires --tls-client-ca"),
        ({"tls_client_organization": "ou", "tls_client_ca": __file__}, "one of cn, o, san"),
        ({"tls_client_organization": "o", "tls_client_ca": __file__}, "use cn or san"),
    ],
    ids=["no authority", "another part", "not over gRPC"],
)
def test_a_certificate_option_that_cannot_work_is_refused(
    options: dict[str, str], message: str
) -> None:
    tls = {"tls_cert": __file__, "tls_key": __file__}
    with pytest.raises(InvalidRequestError, match=message):
        ServeOptions(database_url="", **tls, **options).check()  # type: ignore[arg-type] # one field each


def test_unfinished_handshakes_are_closed_and_do_not_block_others(
    database_url: str, tmp_path: Path
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", authority)
    arguments = (
        "--tls-cert",
        str(tmp_path / "server.pem"),
        "--tls-key",
        str(tmp_path / "server.key"),
    )
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    with (
        serving(database_url, *arguments, speaks_tls=True, descriptors=900) as service,
        ExitStack() as stack,
    ):
        stalled = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 20))
            for _ in range(600)
        ]
        for connection in stalled[::2]:
            connection.sendall(b"\x16\x03\x01")
        url = f"https://localhost:{service.port}/health"
        with urllib.request.urlopen(url, context=context, timeout=5) as answer:
            assert answer.status == 200
        started = time.monotonic()
        with suppress(ConnectionError):
            assert stalled[-1].recv(1) in {b"", b"\x15"}
        assert time.monotonic() - started < REQUEST_SECONDS + 2
