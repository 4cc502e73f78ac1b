"""`tokenledger dashboard`: says its address, answers, and ends with Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.command_line import run

if TYPE_CHECKING:
    from support.dashboard import Dashboard

pytestmark = pytest.mark.integration

COMMAND = (str(Path(sys.executable).with_name("tokenledger")), "dashboard", "--port", "0")


@pytest.mark.parametrize("ends_with", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_the_ledger_until_it_is_interrupted(
    filled_url: str, ends_with: signal.Signals
) -> None:
    environment = {**os.environ, "TOKENLEDGER_DATABASE_URL": filled_url}
    with subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        with urllib.request.urlopen(f"{words[-1]}api/v1/summary", timeout=20) as answer:  # noqa: S310 - loopback
            assert json.load(answer)["total_cost"] == "0.35"
        process.send_signal(ends_with)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode in {0, -ends_with}, errors) == (True, "")


def test_an_address_that_others_reach_is_a_usage_error() -> None:
    result = run("dashboard", "--host", "0.0.0.0", "--database-url", "postgresql://h/d")  # noqa: S104
    assert result.exit_code == 2
    assert "use --tokens-file" in result.output


def test_a_port_in_use_is_named(filled_url: str, dashboard: Dashboard) -> None:
    port = str(dashboard.port)
    result = run("dashboard", "--port", port, "--database-url", filled_url)
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.output
