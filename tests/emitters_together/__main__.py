"""Other instrumentations together with ours, in every order: each call is one row, at one price.

Run by `make emitters-together`. It makes an environment in a temporary folder, with the pinned
SDKs, this project and the instrumentations of OpenTelemetry, OpenInference and OpenLLMetry, and
runs `nine_calls.py` in it once for each line of `ORDERS`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_PROJECT = _HERE.parent.parent
_UV = _PROJECT / ".venv" / "bin" / "uv"
_EMITTERS = (
    "opentelemetry-instrumentation-genai-openai==1.3b0",
    "opentelemetry-instrumentation-genai-anthropic==1.3b0",
    "openinference-instrumentation-openai",
    "openinference-instrumentation-anthropic",
    "opentelemetry-instrumentation-openai",
    "opentelemetry-instrumentation-anthropic",
)
ORDERS = (
    "ours",
    "genai",
    "openinference",
    "openllmetry",
    "ours genai",
    "genai ours",
    "ours openinference",
    "openinference ours",
    "ours openllmetry",
    "openllmetry ours",
    "genai openinference openllmetry",
    "genai openinference ours openllmetry",
)
"""Who is instrumented, the first first."""


def main() -> int:
    """Run every order; 1 if a call was no row, or two."""
    with tempfile.TemporaryDirectory(prefix="emitters-") as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        install = (_UV, "pip", "install", "--quiet", "--python", python)
        _run(_UV, "venv", "--quiet", "--python", sys.executable, python.parent.parent)
        lock = _PROJECT / "requirements.lock"
        _run(_UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock)
        _run(*install, "--no-deps", "--no-build-isolation", "--editable", _PROJECT)
        _run(*install, *_EMITTERS)
        program = _HERE / "nine_calls.py"
        return max(
            subprocess.run(
                (python, "-W", "ignore", program, *order.split()), check=False
            ).returncode
            for order in ORDERS
        )


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main())
