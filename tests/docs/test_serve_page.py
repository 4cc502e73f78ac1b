"""The request, the variables and the commands of docs/guides/any-language.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

from support.ledger_rows import ask
from support.otlp_requests import COST
from support.otlp_service import serving
from tokenledger_exporter.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "any-language.md").read_text()


def test_the_request_by_hand_is_a_row(database_url: str) -> None:
    (sent,) = re.findall(r"^curl .*?'$(?!\n  )", PAGE, flags=re.DOTALL | re.MULTILINE)[:1]
    sent = sent.replace("NOW", str(time.time_ns()))
    with serving(database_url) as service:
        sent = sent.replace("http://127.0.0.1:4318", service.endpoint)
        done = subprocess.run(["bash", "-c", sent], capture_output=True, text=True, check=True)
    assert done.stdout == "{}"
    query = "SELECT user_id, app_name, cost_usd FROM token_ledger_events"
    assert ask(database_url, query) == [("u1", "shop", COST)]


def test_the_variables_of_an_sdk_are_enough(database_url: str, tmp_path: Path) -> None:
    """The page's two variables, and an app that knows nothing of us."""
    app = tmp_path / "app.py"
    app.write_text(
        "from opentelemetry import trace\n"
        "call = {'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai',"
        " 'gen_ai.response.model': 'gpt-4o', 'gen_ai.usage.input_tokens': 1000,"
        " 'gen_ai.usage.output_tokens': 100}\n"
        "trace.get_tracer('my.app').start_span('chat', attributes=call).end()\n"
    )
    block = PAGE.partition("needs only the endpoint:\n\n```bash\n")[2].partition("```")[0]
    with serving(database_url) as service:
        variables = dict(re.findall(r"export (\w+)=(\S+)", block))
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = service.endpoint
        quiet = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
        launcher = str(Path(sys.executable).parent / "opentelemetry-instrument")
        subprocess.run(
            [launcher, sys.executable, str(app)],
            env={**os.environ, **variables, **quiet},
            check=True,
        )
    assert ask(database_url, "SELECT cost_usd FROM token_ledger_events") == [(COST,)]


def test_the_lines_of_the_page_are_those_of_the_command() -> None:
    (line,) = re.findall(r"tokenledger serve (--new-token acme)", PAGE)
    done = CliRunner().invoke(main, ["serve", *line.split()])
    assert re.search(r"^line.* acme:[0-9a-f]{64}$", done.output, flags=re.MULTILINE)


def test_the_service_is_found_under_the_packages_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tokenledger.server", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--grpc-port" in done.stdout
