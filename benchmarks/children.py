"""The environment of programs that a benchmark starts: they import `benchmarks` and `support`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

IMPORT_PATH: Final = os.pathsep.join([str(ROOT), str(ROOT / "tests")])


def environment() -> dict[str, str]:
    """This process's environment, with the project's root and its tests on the import path."""
    return {**os.environ, "PYTHONPATH": IMPORT_PATH}
