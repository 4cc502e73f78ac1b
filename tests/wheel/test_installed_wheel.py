"""What a stranger gets: the built wheel in an empty environment, quick start and zero code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")

# Everything these programs need comes from the wheel: server, fake provider, and the product.
QUICK_START = """
import contextlib
from decimal import Decimal

import openai
import tokenledger
from tokenledger.queries import TokenLedgerQueries
from tokenledger_exporter.demo.provider import DemoProvider

tokenledger.configure()
tokenledger.patch_openai()
usage = '{"input": 1000, "output": 100, "cache_read": 600}'
with DemoProvider() as provider:
    with openai.OpenAI(base_url=provider.openai_base_url, api_key="k") as client:
        client.chat.completions.create(
            model="gpt-4o-2024-08-06",
            messages=[{"role": "user", "content": "Hello!"}],
            user="user_123",
            extra_headers={"x-demo-usage": usage},
        )
assert tokenledger.flush() == 1
million = Decimal(1_000_000)
expected = Decimal("2.5") * 400 / million + Decimal("1.25") * 600 / million + 10 * 100 / million
[user] = TokenLedgerQueries().get_costs_by_user(days=7)
assert (user.user_id, user.total_cost) == ("user_123", expected), user
tokenledger.shutdown()
"""
PLAIN_APP = """
import anthropic

with anthropic.Anthropic(api_key="k") as client:
    client.messages.create(
        model="claude-sonnet-4-6",
        max_tokens=100,
        messages=[{"role": "user", "content": "Hello!"}],
        extra_headers={"x-demo-usage": '{"input": 1000, "output": 100}'},
    )
print("done")
"""
# One server for all programs: they are given its URL and run below it.
HOST = """
import os, subprocess, sys
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.embedded.postgres import temporary_postgres

with temporary_postgres({"fsync": "off"}) as url, DemoProvider() as provider:
    environment = {
        **os.environ,
        "TOKENLEDGER_DATABASE_URL": url,
        "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
    }
    for command in sys.argv[1:]:
        done = subprocess.run(command, shell=True, env=environment)
        if done.returncode:
            sys.exit(f"{command} ended with {done.returncode}")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(folder))
    subprocess.run([UV, *build, "--python", sys.executable, str(REPOSITORY)], check=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    binaries = folder / "venv" / "bin"
    # The lock pins what is installed; its hashes are checked where `make setup` installs it.
    install = ("pip", "install", "--quiet", "--constraint", str(REPOSITORY / "requirements.lock"))
    subprocess.run([UV, *install, "--python", binaries / "python", f"{wheel}[all]"], check=True)
    for name, program in (("quick_start", QUICK_START), ("app", PLAIN_APP), ("host", HOST)):
        (folder / f"{name}.py").write_text(program)
    return binaries


_LAUNCHER = (
    "opentelemetry-instrument --traces_exporter tokenledger"
    " --metrics_exporter none --logs_exporter none"
)


@pytest.mark.wheel
@pytest.mark.integration
def test_quick_start_and_zero_code_launch_work_from_the_wheel(
    installed: Path, tmp_path: Path
) -> None:
    programs = installed.parents[1]
    done = subprocess.run(
        [
            installed / "python",
            programs / "host.py",
            "tokenledger db migrate",
            f"python {programs / 'quick_start.py'}",
            f"{_LAUNCHER} python {programs / 'app.py'}",
            "tokenledger report --by provider,user --format csv",
            "tokenledger doctor",
        ],
        env={"PATH": f"{installed}{os.pathsep}{os.defpath}", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # 1000 in at $3 and 100 out at $15 a million; 400 at 2.5, 600 cached at 1.25, 100 out at 10.
    assert any(line.startswith('"anthropic","","0.0045","1","1000","100",') for line in lines), (
        done.stdout
    )
    assert any(
        line.startswith('"openai","user_123","0.00275","1","1000","100","600",') for line in lines
    )
    assert lines.count("done") == 1


@pytest.mark.wheel
@pytest.mark.integration
def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "tokenledger", "demo"],
        env={"PATH": f"{installed}{os.pathsep}{os.defpath}", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "coverage: 42 of 43 calls priced (97.6%), 1 unpriced" in done.stdout


@pytest.mark.wheel
@pytest.mark.integration
def test_the_dashboard_shows_its_sample(installed: Path, tmp_path: Path) -> None:
    """Templates, styles and scripts are in the wheel, and so is the sample."""
    command = (installed / "tokenledger", "dashboard", "--sample", "--port", "0")
    environment = {"PATH": f"{installed}{os.pathsep}{os.defpath}", "HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            lines = process.stdout or ()
            address = next(line.split()[-1] for line in lines if "http://" in line)
            with urllib.request.urlopen(address, timeout=60) as response:  # noqa: S310 - loopback
                page = response.read().decode()
            assert "Sample data" in page
            for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
                url = address.rstrip("/") + path
                with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - loopback
                    assert response.read()
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
