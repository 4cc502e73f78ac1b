"""What your LLM features cost, on your own Postgres: the part that runs inside your app.

`configure` opens the ledger, `patch_openai` and `patch_anthropic` record calls, `attribution` says
whom they are for. Importing this loads neither a database driver nor an SDK.
"""

from tokenledger.attribution import attribution
from tokenledger.lifecycle import (
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
from tokenledger.tracking import track_cost

__all__ = [
    "attribution",
    "configure",
    "flush",
    "health",
    "init",
    "patch_anthropic",
    "patch_openai",
    "shutdown",
    "track_cost",
    "unpatch_anthropic",
    "unpatch_openai",
]
