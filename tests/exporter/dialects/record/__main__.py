"""Records what one emitter says of its calls: `python -m exporter.dialects.record NAME PYTHON`.

Run it from `tests/` with the project's environment. NAME is a script of `emitters/`, PYTHON the
interpreter of an environment that holds the emitter; for a `.mjs` script, the folder whose
`node_modules` holds it. The fixture goes to `spans/NAME-VERSION.json`, by the version of the first
package it names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from exporter.dialects.record.loopback import Loopback

_EMITTERS = Path(__file__).parent / "emitters"
_FIXTURES = Path(__file__).parents[1] / "spans"


def main() -> int:
    """Record one emitter on a loopback provider."""
    name, where = sys.argv[1:3]
    script = _EMITTERS / name
    made = _FIXTURES / "new.json"
    with Loopback() as provider:
        environment = {
            "RECORD_URL": provider.url,
            "RECORD_FILE": str(made),
            "OPENAI_API_KEY": "sk-canary-key",
            "OPENAI_BASE_URL": provider.openai_base_url,
            "ANTHROPIC_API_KEY": "sk-canary-key",
            "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
            "AWS_ACCESS_KEY_ID": "canary",
            "AWS_SECRET_ACCESS_KEY": "sk-canary-key",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "*",
        }
        if script.suffix == ".mjs":
            # Node finds packages next to the script only.
            shutil.copy(_EMITTERS / "spans.mjs", where)
            script = Path(shutil.copy(script, where))
            command = ["node", str(script)]
        else:
            command = [where, str(script)]
        subprocess.run(command, env={**os.environ, **environment}, check=True)
    release = next(iter(json.loads(made.read_text(encoding="utf-8"))["packages"].values()))
    made.rename(_FIXTURES / f"{script.stem.removesuffix('_emitter')}-{release}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
