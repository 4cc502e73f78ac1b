"""A script that has no database and asks for the embedded one, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tokenledger_exporter.embedded.homes import temporary_home

# 1,000 input tokens of gpt-4o at $2.50 a million and 100 output tokens at $10: $0.0035.
_SCRIPT = """
import pathlib, sys
from tokenledger_exporter.recorder import embedded_server
embedded_server.default_home = lambda: pathlib.Path(sys.argv[1])
sys.argv[0] = sys.argv[2]
import tokenledger
from tokenledger.queries import TokenLedgerQueries
tokenledger.init()
tokenledger.track(provider="openai", model="gpt-4o", input_tokens=1_000, output_tokens=100)
tokenledger.flush(10)
print(TokenLedgerQueries().get_cost_summary(days=1).total_cost.normalize())
"""


def run_script(embedded: str, program: str = "script.py") -> subprocess.CompletedProcess[str]:
    """Run the script with `TOKENLEDGER_EMBEDDED` set, as the given program."""
    kept = {key: text for key, text in os.environ.items() if not key.endswith("DATABASE_URL")}
    with temporary_home() as home:
        return subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(home / "server"), program],
            env={
                **kept,
                "TOKENLEDGER_EMBEDDED": embedded,
                "TOKENLEDGER_SPOOL_DIR": str(home / "spool"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
