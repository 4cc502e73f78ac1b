"""Tokens: which senders are accepted, and for which organization."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from click.testing import CliRunner

from support.ledger_rows import ask
from support.otlp_requests import body, call
from support.otlp_service import exporting, serving, until
from tokenledger_exporter.access.tokens import Tokens, new_token, token_line
from tokenledger_exporter.cli import main
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.server.options import ServeOptions

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from support.otlp_service import Running

ACME, ANY, ROTATED = new_token(), new_token(), new_token()


@pytest.fixture(scope="module")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    lines = ["# senders", token_line("acme", ACME), "", token_line("*", ANY)]
    file.write_text("\n".join(lines))
    return file


@pytest.fixture(scope="module")
def service(ledger_url: str, tokens_file: Path) -> Generator[Running]:
    with serving(ledger_url, "--tokens-file", str(tokens_file), grpc=True) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), {"authorization": f"Basic {ACME}"}, bearer(""), bearer(ACME[:-1])],
    ids=["none", "wrong", "basic", "empty", "cut"],
)
def test_without_a_valid_token_it_is_401(service: Running, headers: dict[str, str]) -> None:
    for path in ("/v1/traces", "/v1/logs"):
        answer = service.ask(path, b"", headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_only_the_operators_token_sees_the_counters(service: Running) -> None:
    assert service.ask("/ready").body == b'{"status": "ok"}'
    assert service.ask("/ready", headers=bearer(ACME)).body == b'{"status": "ok"}'
    assert b'"stored"' in service.ask("/ready", headers=bearer(ANY)).body


def test_the_401_comes_before_the_body(service: Running) -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_the_tokens_organization_overrides_the_spans(service: Running, ledger_url: str) -> None:
    claims = {"tokenledger.organization_id": "other", "user.id": "claim", "organization_id": "x"}
    for token in (ACME, ANY):
        assert service.ask("/v1/traces", body(call(claims)), bearer(token)).body == b""
    query = "SELECT organization_id FROM token_ledger_events WHERE user_id = 'claim' ORDER BY 1"
    assert ask(ledger_url, query) == [("acme",), ("other",)]


def test_grpc_requires_the_token_as_well(service: Running, ledger_url: str) -> None:
    sent = body(call({"user.id": "grpc token"}))
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        export = exporting(channel)
        with pytest.raises(grpc.RpcError) as refused:
            export(sent)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        export(sent, metadata=(("authorization", f"Bearer {ACME}"),))
    query = "SELECT organization_id FROM token_ledger_events WHERE user_id = 'grpc token'"
    assert ask(ledger_url, query) == [("acme",)]


def test_a_token_is_rotated_while_senders_go_on(service: Running, tokens_file: Path) -> None:
    """Both are valid until the line of the old one is removed."""
    before = tokens_file.read_text()
    tokens_file.write_text(f"{before}\n{token_line('acme', ROTATED)}")
    until(lambda: service.ask("/v1/traces", b"", bearer(ROTATED)).status == 200)
    assert service.ask("/v1/traces", b"", bearer(ACME)).status == 200
    tokens_file.write_text(token_line("acme", ROTATED))
    until(lambda: service.ask("/v1/traces", b"", bearer(ACME)).status == 401)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


class Clock:
    """A clock that advances two seconds per call, so that the file is checked every time."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 2
        return self.now


@pytest.fixture(autouse=True)
def passing_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "file" in request.fixturenames:
        monkeypatch.setattr("tokenledger_exporter.access.tokens.time.monotonic", Clock())


def write(file: Path, *lines: str) -> None:
    """Write the file as if a minute ago."""
    file.write_text("\n".join(lines))
    os.utime(file, (time.time() - 60, time.time() - 60))


def accepts(tokens: Tokens, token: str) -> bool:
    return tokens.bearer_of(f"Bearer {token}") == ("acme", False)


def test_an_invalid_line_revokes_only_its_own_token(file: Path) -> None:
    write(file, token_line("acme", ACME), token_line("acme", ROTATED))
    tokens = Tokens(file=str(file))
    write(file, "acme:not a hash", token_line("acme", ROTATED))
    assert accepts(tokens, ROTATED)
    assert not accepts(tokens, ACME)


def test_a_changed_file_of_the_same_size_and_time_is_reloaded(file: Path) -> None:
    """`cp -p`, rsync and Nix write such files."""
    write(file, token_line("acme", ACME))
    before = file.stat()
    tokens = Tokens(file=str(file))
    file.write_text(token_line("acme", ROTATED))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert accepts(tokens, ROTATED)
    assert not accepts(tokens, ACME)


def test_an_unreadable_file_is_read_again_later(file: Path) -> None:
    write(file, token_line("acme", ACME))
    tokens = Tokens(file=str(file))
    file.unlink()
    assert accepts(tokens, ACME), "a missing file changes nothing"
    file.mkdir()
    assert accepts(tokens, ACME)
    file.rmdir()
    write(file, token_line("acme", ROTATED))
    assert accepts(tokens, ROTATED)
    assert not accepts(tokens, ACME)


def test_a_file_that_is_being_written_is_read_later(file: Path) -> None:
    write(file, token_line("acme", ACME))
    tokens = Tokens(file=str(file))
    file.write_text(token_line("acme", ROTATED)[:20])
    assert accepts(tokens, ACME)
    write(file, token_line("acme", ROTATED))
    assert not accepts(tokens, ACME)
    assert accepts(tokens, ROTATED)


def test_an_empty_file_revokes_every_token(file: Path) -> None:
    write(file, token_line("acme", ACME))
    tokens = Tokens(file=str(file))
    write(file, "")
    assert tokens
    assert not accepts(tokens, ACME)


def test_two_tokens_over_grpc_are_refused(service: Running) -> None:
    metadata = (("authorization", f"Bearer {ACME}"), ("authorization", f"Bearer {ANY}"))
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as refused:
            exporting(channel)(body(call()), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_command_prints_a_token_and_its_line() -> None:
    done = CliRunner().invoke(main, ["serve", "--new-token", "acme"])
    token, line = (text.split()[-1] for text in done.output.splitlines())
    tokens = Tokens(line)
    assert tokens.bearer_of(f"bearer {token}") == ("acme", False)
    assert token not in line


@pytest.mark.parametrize("name", ["", "two words", "a:b", "a,b", "x" * 256])
def test_an_organization_that_would_break_the_line_is_refused(name: str) -> None:
    assert CliRunner().invoke(main, ["serve", "--new-token", name]).exit_code == 2


@pytest.mark.parametrize(
    "text", ["acme", "acme:abc", ":" + "0" * 64, "acme:" + "g" * 64], ids=lambda text: text[:8]
)
def test_an_invalid_line_is_named_by_its_number_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"entry 2 of TOKENLEDGER_SERVER_TOKENS") as error:
        Tokens(f"# first\n{text}")
    assert text[5:] not in str(error.value) or len(text) < 6


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "ledger.example.com"])  # noqa: S104 - the subject of the test
def test_an_address_that_others_can_reach_requires_a_token(host: str) -> None:
    with pytest.raises(InvalidRequestError, match="--tokens-file"):
        ServeOptions(database_url="", host=host).check()
    ServeOptions(database_url="", host=host, tokens=token_line("acme", ACME)).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_loopback_address_requires_no_token(host: str) -> None:
    ServeOptions(database_url="", host=host).check()


def test_the_command_refuses_to_start_without_credentials_on_a_public_address(
    ledger_url: str,
) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--database-url", ledger_url]  # noqa: S104 - as above
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "any client could write to the ledger" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tls_cert": __file__}, "must be used together"),
        ({"tls_client_ca": __file__}, "requires --tls-cert"),
        ({"tls_cert": "nowhere", "tls_key": __file__}, "cannot read nowhere"),
        ({"port": 4000, "grpc_port": 4000}, "use two different ports"),
        ({"grpc_port": 70_000}, "not 70000"),
        ({"tokens_file": "nowhere"}, "cannot read the tokens file nowhere"),
    ],
    ids=["key", "authority", "certificate", "same", "port", "tokens"],
)
def test_options_that_cannot_work_are_refused(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        ServeOptions(database_url="", **options).check()  # type: ignore[arg-type] # one field each


def test_a_port_in_use_is_named(ledger_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        arguments = ["serve", "--database-url", ledger_url]
        for ports in (("--port", port), ("--port", "0", "--grpc-port", port)):
            done = CliRunner().invoke(main, [*arguments, *ports])
            assert done.exit_code == 2
            assert f"cannot listen on 127.0.0.1:{port}" in done.output


def test_a_line_may_mark_a_source_as_trusted() -> None:
    line = token_line("acme", ACME)
    tokens = Tokens(f"{line}:trusted,{token_line('*', ROTATED)}")
    assert tokens.bearer_of(f"Bearer {ACME}") == ("acme", True)
    assert tokens.bearer_of(f"Bearer {ROTATED}") == ("", False)
    for line_text in (f"{line}:", f"{line}:trust", f"{line}:trusted:x", f":{line}"):
        with pytest.raises(InvalidRequestError):
            Tokens(line_text)
