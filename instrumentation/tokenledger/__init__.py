"""Records what your LLM features cost in your own Postgres: the part that runs in your app.

`configure` opens the ledger. `patch_openai` and `patch_anthropic` record calls. `attribution`
attributes them. `track` and `track_llm` record calls that no patch sees. `meter` sums the calls of
a block, and `budget` stops them at a limit. Importing this loads no database driver, no SDK and no
web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenledger._attribution.decorator import attribution
    from tokenledger._budgets.errors import BudgetExceeded
    from tokenledger._budgets.run_budget import budget
    from tokenledger._calls.meter import meter
    from tokenledger._configure import (
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
    from tokenledger._manual.track import atrack, atrack_many, track, track_cost, track_many
    from tokenledger._manual.track_llm import track_llm

    __version__: str

__all__ = [
    "BudgetExceeded",
    "aflush",
    "atrack",
    "atrack_many",
    "attribution",
    "budget",
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

# Each part loads on first use: an app that only attributes does not load the rest.
_MODULES = {
    "BudgetExceeded": "tokenledger._budgets.errors",
    "attribution": "tokenledger._attribution.decorator",
    "budget": "tokenledger._budgets.run_budget",
    "meter": "tokenledger._calls.meter",
    "track_llm": "tokenledger._manual.track_llm",
    **dict.fromkeys(
        ("atrack", "atrack_many", "track", "track_cost", "track_many"), "tokenledger._manual.track"
    ),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("tokenledger-otel")
    if name not in __all__:
        raise AttributeError(f"module 'tokenledger' has no attribute {name!r}")
    module = importlib.import_module(_MODULES.get(name, "tokenledger._configure"))
    value: object = getattr(module, name)
    # Stored, so that the next access does not come here.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    special = (name for name in globals() if name.startswith("__"))
    return sorted({*__all__, *special, "__version__"})
