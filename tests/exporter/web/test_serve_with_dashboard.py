"""`tokenledger serve --dashboard`: one dashboard in a process of its own, which ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support.command_line import run
from support.otlp_requests import body, call
from support.otlp_service import serving, until
from support.ports import free_port

pytestmark = pytest.mark.integration

_SECONDS = 30.0


def summary(port: int) -> Any:  # noqa: ANN401 - a document
    address = f"http://127.0.0.1:{port}/api/v1/summary"
    with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
        return json.load(answer)


def answers(port: int) -> bool:
    try:
        summary(port)
    except (urllib.error.URLError, OSError):
        return False
    return True


def dashboards_of(pid: int) -> list[int]:
    """The child processes that serve the dashboard."""
    children: list[int] = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            command = (file.parent / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "multiprocessing.spawn" in command:
            children.append(int(file.parent.name))
    return children


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_service_takes_calls_and_shows_them(database_url: str, workers: str) -> None:
    port = free_port()
    words = ("--dashboard", "--dashboard-port", str(port), "--workers", workers)
    with serving(database_url, *words) as service:
        until(lambda: answers(port))
        assert summary(port)["total_requests"] == 0
        assert service.accepts(body(call()))
        assert summary(port)["total_requests"] == 1
        # With more workers, uvicorn starts them in the same way.
        expected = 1 if workers == "1" else 3
        assert len(dashboards_of(service.process.pid)) == expected
    assert not answers(port)


def test_a_dashboard_that_ends_is_started_again(database_url: str) -> None:
    port = free_port()
    with serving(database_url, "--dashboard", "--dashboard-port", str(port)) as service:
        until(lambda: answers(port))
        [first] = dashboards_of(service.process.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: dashboards_of(service.process.pid) not in ([first], []))
        until(lambda: answers(port))
        assert service.accepts(body(call()))
        service.lines.clear()


@pytest.mark.parametrize("ends_with", [signal.SIGKILL, signal.SIGINT])
def test_the_dashboard_ends_with_the_service(database_url: str, ends_with: signal.Signals) -> None:
    """As `python -m tokenledger.server`, which users of TokenLedger 0.1.1 type."""
    port = free_port()
    command = [sys.executable, "-m", "tokenledger.server", "--port", "0", "--grpc-port", "0"]
    environment = {
        **os.environ,
        "TOKENLEDGER_DATABASE_URL": database_url,
        "TOKENLEDGER_DASHBOARD_PORT": str(port),
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: answers(port))
        [dashboard] = dashboards_of(process.pid)
        process.send_signal(ends_with)
        _, errors = process.communicate(timeout=_SECONDS)
        assert f"the dashboard is at http://127.0.0.1:{port}/" in errors
        assert "OTLP/HTTP on 127.0.0.1:" in errors
    until(lambda: not Path(f"/proc/{dashboard}").exists())


def test_an_address_that_others_reach_needs_tokens_here_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DASHBOARD_HOST", "0.0.0.0")  # noqa: S104 - refused
    result = run("serve", "--dashboard", "--database-url", database_url)
    assert result.exit_code == 2
    assert "use --tokens-file" in result.output


def test_a_port_in_use_is_named_before_anything_starts(database_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as other:
        assert other.stdout is not None
        port = other.stdout.readline().split("port ")[1].split()[0]
        words = ("--dashboard", "--dashboard-port", port, "--database-url", database_url)
        result = run("serve", *words)
        other.terminate()
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.output
