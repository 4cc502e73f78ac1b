"""What your LLM features cost, on your own Postgres: the part that runs inside your app.

`configure` opens the ledger, `patch_openai` and `patch_anthropic` record calls, `attribution` says
whom they are for, `track` and `track_llm` book what is not recorded, `meter` sums what runs inside.
Importing this loads neither a database driver nor an SDK nor a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenledger.attributing import attribution
    from tokenledger.lifecycle import (
        aflush,
        configure,
        flush,
        health,
        init,
        patch_anthropic,
        patch_openai,
        shutdown,
        unpatch_anthropic,
        unpatch_openai,
    )
    from tokenledger.metering import meter
    from tokenledger.tracked import track_llm
    from tokenledger.tracking import atrack, atrack_many, track, track_cost, track_many

__all__ = [
    "aflush",
    "atrack",
    "atrack_many",
    "attribution",
    "configure",
    "flush",
    "health",
    "init",
    "meter",
    "patch_anthropic",
    "patch_openai",
    "shutdown",
    "track",
    "track_cost",
    "track_llm",
    "track_many",
    "unpatch_anthropic",
    "unpatch_openai",
]

# Each part loads when it is first asked for: an app that only attributes does not pay for the rest.
_MODULES = {
    "attribution": "tokenledger.attributing",
    "meter": "tokenledger.metering",
    "track_llm": "tokenledger.tracked",
    **dict.fromkeys(
        ("atrack", "atrack_many", "track", "track_cost", "track_many"), "tokenledger.tracking"
    ),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tokenledger' has no attribute {name!r}")
    found: object = getattr(
        importlib.import_module(_MODULES.get(name, "tokenledger.lifecycle")), name
    )
    # Not asked for a second time.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
