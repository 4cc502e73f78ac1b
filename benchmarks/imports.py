"""What `import tokenledger` costs an app that has OpenTelemetry's API already."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final, NamedTuple

HEAVY: Final = ("psycopg", "pydantic", "starlette", "genai_prices", "opentelemetry.sdk", "django")
"""What it must not load."""

FIRST_USE: Final = "tokenledger.configure, tokenledger.patch_openai, tokenledger.attribution"
"""What an app asks for first; its parts load then."""

_PROGRAM: Final = """
import json, sys, time
from opentelemetry import baggage, context, trace
trace.get_tracer("app")
def megabytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6
before, begun = megabytes(), time.process_time()
import tokenledger
exec(sys.argv[1])
print(json.dumps([(time.process_time() - begun) * 1e3, megabytes() - before, list(sys.modules)]))
"""


class ImportCost(NamedTuple):
    """CPU milliseconds, megabytes, and which heavy modules were loaded."""

    cpu_ms: float
    megabytes: float
    heavy: list[str]


def import_cost(used: str = "") -> ImportCost:
    """What importing costs, and using what is named after it; the best of five runs."""
    best = (float("inf"), float("inf"))
    loaded: set[str] = set()
    for _ in range(5):
        command = [sys.executable, "-c", _PROGRAM, used]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        cpu, megabytes, modules = json.loads(output)
        best = min(best, (cpu, megabytes))
        loaded.update(name for name in HEAVY if name in modules)
    return ImportCost(*best, sorted(loaded))
