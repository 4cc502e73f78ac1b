"""The result of one check of `doctor`: its state, and a remedy if it is not ok."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Args:
        name: what was checked.
        state: `OK`, `WARN` or `FAIL`.
        remedy: what to do if the state is not `OK`.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""
