"""Every program of examples/ runs as it stands, and its calls are in the ledger with their cost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from docs.conftest import BIN, ROOT
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

EXAMPLES = ROOT / "examples"
SECONDS = 60
# US dollars a million input and output tokens, 2026-11-22.
PRICES = {
    "gpt-4o": ("2.5", "10"),
    "gpt-4o-mini": ("0.15", "0.6"),
    "claude-haiku-4-5": ("1", "5"),
    "claude-sonnet-4-6": ("3", "15"),
}


def test_every_example_has_a_test_and_a_line_in_the_table() -> None:
    files = (Path(__file__), Path(__file__).with_name("test_notebook.py"))
    tests = "".join(file.read_text(encoding="utf-8") for file in files)
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert len(names) == 6
    for name in names:
        assert f'"{name}"' in tests
        assert f"[{name}]" in table


def test_basic_openai_prints_the_cost_of_its_two_calls(
    program_environment: dict[str, str],
) -> None:
    output = run("basic_openai.py", program_environment)
    rows = calls(program_environment, "user_id, feature")
    assert [row[2:] for row in rows] == [("ada", "haiku")] * 2
    assert printed_usd(output, "this run") == sum(row[1] for row in rows)
    assert "gpt-4o-mini" in output


def test_multi_agent_prints_the_cost_of_each_agent(program_environment: dict[str, str]) -> None:
    output = run("multi_agent.py", program_environment)
    rows = calls(program_environment, "agent_id, session_id")
    agents = {row[2] for row in rows}
    assert agents == {"planner", "researcher", "writer"}
    assert {row[3] for row in rows} == {"session-1"}
    for agent in agents:
        assert printed_usd(output, agent) == sum(row[1] for row in rows if row[2] == agent)


def test_saas_multitenant_prints_one_tenants_bill(program_environment: dict[str, str]) -> None:
    output = run("saas_multitenant.py", program_environment)
    rows = calls(program_environment, "organization_id, user_id, metadata->>'plan'")
    assert sorted(row[2:] for row in rows) == [
        ("acme", "ada", "enterprise"),
        ("acme", "ben", "enterprise"),
        ("globex", "chloe", "starter"),
    ]
    assert printed_usd(output, "acme in total") == sum(row[1] for row in rows if row[2] == "acme")
    assert "coverage: 2 of 2 calls priced" in output


def test_fastapi_app_attributes_by_api_key_and_returns_the_cost(
    program_environment: dict[str, str],
) -> None:
    port = free_port()
    command = [str(BIN / "uvicorn"), "--app-dir", str(EXAMPLES), "fastapi_app:app"]
    assert (EXAMPLES / "fastapi_app.py").exists()
    with started([*command, "--port", str(port)], program_environment):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/summaries/42",
            headers={"X-API-Key": "key-of-ada", "X-User-ID": "somebody-else"},
        )
        with answered(request) as response:
            assert json.load(response)["summary"]
            cost = response.headers["X-LLM-Cost"]
    [(_, stored, *attribution)] = calls(program_environment, "user_id, endpoint, feature, app_name")
    assert attribution == ["ada", "/summaries/{document}", "summarize", "summaries"]
    assert stored == Decimal(cost)


def test_celery_worker_attributes_a_task_to_the_producers_user(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "celeryconfig.py").write_text(
        "broker_url = 'filesystem://'\n"
        f"broker_transport_options = dict.fromkeys(('data_folder_in', 'data_folder_out', "
        f"'control_folder'), {str(tmp_path)!r})\n"
        "broker_connection_retry_on_startup = False\n"
    )
    environment = {
        **program_environment,
        "PYTHONPATH": f"{tmp_path}:{EXAMPLES}",
        "TOKENLEDGER_TRUST_BAGGAGE": "user_id,team",
        "CELERY_CONFIG_MODULE": "celeryconfig",
    }
    launcher = [str(BIN / "opentelemetry-instrument"), "--metrics_exporter", "none"]
    launcher += ["--logs_exporter", "none", "--traces_exporter"]
    worker = [*launcher, "tokenledger", str(BIN / "celery"), "--app", "celery_worker", "worker"]
    worker += ["--concurrency", "1", "--without-gossip", "--without-mingle"]
    producer = [*launcher, "none", sys.executable, str(EXAMPLES / "celery_worker.py")]
    with started(worker, environment):
        subprocess.run([*producer, "The export stops."], env=environment, check=True)
        until_a_call_is_written(environment)
    [(_, _, *attribution)] = calls(environment, "user_id, team, feature")
    assert attribution == ["ada", "support", "classify"]


def run(name: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def printed_usd(output: str, label: str) -> Decimal:
    """The dollars that a program printed after a label."""
    [amount] = re.findall(rf"^{label}: \$([\d.]+\d)", output, flags=re.MULTILINE)
    return Decimal(amount)


def calls(environment: dict[str, str], columns: str) -> list[tuple[Any, ...]]:
    """Every call's status and cost, which is checked, and the columns asked for."""
    question = (
        "SELECT cost_status, cost_usd, model, input_tokens, "
        f"output_tokens, {columns} FROM token_ledger_events ORDER BY timestamp"
    )
    with psycopg.connect(environment["TOKENLEDGER_DATABASE_URL"]) as connection:
        rows = connection.execute(question.encode()).fetchall()
    assert rows
    for status, cost, model, tokens_in, tokens_out, *_ in rows:
        price_in, price_out = (Decimal(price) for price in price_of(model))
        assert status == "priced"
        assert cost == (price_in * tokens_in + price_out * tokens_out) / 1_000_000
    return [(row[0], row[1], *row[5:]) for row in rows]


def price_of(model: str) -> tuple[str, str]:
    """The price of a model, whose dated names begin with its own."""
    return PRICES[max((name for name in PRICES if model.startswith(name)), key=len)]


@contextmanager
def started(command: Sequence[str], environment: dict[str, str]) -> Generator[None]:
    """A server that ends as a person would end it, and did not fail."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=SECONDS)
    assert "Traceback" not in errors, errors


def answered(request: urllib.request.Request) -> Any:  # noqa: ANN401 - a response of any protocol
    """The response, once the server listens."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310 - loopback
        except ConnectionError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def until_a_call_is_written(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + SECONDS
    with psycopg.connect(environment["TOKENLEDGER_DATABASE_URL"], autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM token_ledger_events").fetchall():
            assert time.monotonic() < deadline, "the task's call did not arrive"
            time.sleep(0.1)
