"""An environment that names OpenTelemetry providers that are not installed costs no call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from end_to_end.programs import run, written
from end_to_end.test_zero_code import written_app

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = pytest.mark.integration

APP = """
import openai
import tokenledger

tokenledger.init()
asked = [{"role": "user", "content": "hi"}]
with openai.OpenAI() as client:
    for _ in range(3):
        client.chat.completions.create(model="gpt-4o", messages=asked)
    list(client.chat.completions.create(model="gpt-4o", messages=asked, stream=True))
tokenledger.track(model="gpt-4o", input_tokens=10, output_tokens=5)
"""
ROWS = "SELECT cost_status, count(*) FROM token_ledger_events GROUP BY 1"


@pytest.mark.parametrize(
    "variable",
    [
        *("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER", "OTEL_PROPAGATORS"),
        *("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
    ],
)
def test_every_call_is_a_row_and_the_log_names_the_cause_once(
    sdks: DemoProvider, tmp_path: Path, database_url: str, variable: str
) -> None:
    del sdks
    ended = run(
        written_app(tmp_path, APP),
        TOKENLEDGER_DATABASE_URL=database_url,
        **{variable: "not_installed"},
    )
    assert ended.code == 0
    assert written(database_url, ROWS) == [("priced", 5)]
    ours = [line for line in ended.errors.splitlines() if "fail" in line]
    # OpenTelemetry's own line, and where it is the tracer's one of ours.
    assert len(ours) <= 2, ended.errors
