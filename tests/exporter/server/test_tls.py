"""TLS, and clients known by their certificate."""

from __future__ import annotations

import datetime as dt
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.server.requests import body, call
from exporter.server.serving import exporting, serving

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def certificate(
    folder: Path, name: str, signer: tuple[x509.Name, EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Name, EllipticCurvePrivateKey]:
    """Write `<name>.pem` and `<name>.key`, signed by an authority or, to be one, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing = signer or (subject, key)
    now = dt.datetime.now(dt.timezone.utc)
    made = (
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
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


def test_only_clients_with_a_certificate_of_the_authority_get_in(
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
    stranger = ssl.create_default_context(cafile=files["authority.pem"])
    known = ssl.create_default_context(cafile=files["authority.pem"])
    known.load_cert_chain(files["client.pem"], files["client.key"])
    with serving(database_url, *arguments, grpc=True, speaks_tls=True) as service:
        url = f"https://localhost:{service.port}"
        with pytest.raises((urllib.error.URLError, OSError)):
            urllib.request.urlopen(f"{url}/health", context=stranger).read()  # noqa: S310 - our own
        with urllib.request.urlopen(f"{url}/health", context=known) as answer:  # noqa: S310 - our own
            assert answer.status == 200
        read = {name: Path(file).read_bytes() for name, file in files.items()}
        mine = grpc.ssl_channel_credentials(
            read["authority.pem"], read["client.key"], read["client.pem"]
        )
        with grpc.secure_channel(f"localhost:{service.grpc_port}", mine) as channel:
            assert exporting(channel)(body(call()), timeout=10) == b""
        nobody = grpc.ssl_channel_credentials(read["authority.pem"])
        with (
            grpc.secure_channel(f"localhost:{service.grpc_port}", nobody) as channel,
            pytest.raises(grpc.RpcError),
        ):
            exporting(channel)(body(call()), timeout=2)
