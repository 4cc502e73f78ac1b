"""What `doctor` finds: one line a check, with what to do where it is not ok."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it stands, and what to do if it is not ok."""

    name: str
    state: str
    detail: str
    remedy: str = ""
