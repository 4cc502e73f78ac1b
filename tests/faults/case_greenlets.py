"""Apps on gevent: a fork must not run the app's greenlets a second time."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from faults.registry import SkippedError, case
from tokenledger_exporter.demo.provider import DemoProvider

if TYPE_CHECKING:
    from faults.world import World

_SECONDS: Final = 60.0
_MOST_CALLS: Final = 500


@case("gevent, first calls of 50 greenlets while processes start")
def first_calls(world: World) -> None:
    _run(world, "gevent.monkey", "--module")


@case("gevent, patched after configure()")
def patched_late(world: World) -> None:
    _run(world, patch_late=True)


def _run(world: World, *launcher: str, **options: object) -> None:
    if find_spec("gevent") is None:
        raise SkippedError("gevent has no release for this interpreter")
    strays = world.folder / "strays"
    with DemoProvider() as provider:
        options |= {
            "base_url": provider.openai_base_url,
            "calls": min(world.calls, _MOST_CALLS),
            "strays": str(strays),
        }
        ended = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                *launcher,
                "faults.greenlets",
                json.dumps(options),
            ],
            env=world.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert strays.read_text(encoding="ascii") == ""
