"""Remembers the last status line in a file, so that a prompt seldom waits for the database."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A password must not be in the name of the file, not even as part of a hash.
_PASSWORD: Final = re.compile(r"(?<=:)[^/@:]*(?=@)|\bpassword=[^&\s]*")


@dataclass(frozen=True, slots=True)
class CachedStatus:
    """The last status.

    Args:
        today: the cost of the day as shown; "" if it was never read.
        month: the cost of the month as shown.
        day: which day is meant, such as 2026-11-28.
        read_at: when both were read, in seconds since 1970.
        tried_at: when the database was asked last, whether or not it answered.
    """

    today: str
    month: str
    day: str
    read_at: float
    tried_at: float

    @property
    def is_stale(self) -> bool:
        """Whether the database did not answer the last time."""
        return self.read_at < self.tried_at


def cache_file(database_url: str, where: Mapping[str, Sequence[str]], zone: str) -> Path | None:
    """The file of a status line; `None` for a user without a home directory."""
    identity = json.dumps([_PASSWORD.sub("", database_url), where, zone], sort_keys=True)
    name = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(root) if root else Path.home() / ".cache"
    except RuntimeError:
        return None
    return folder / "tokenledger" / f"status-{name}.json"


def read_status(file: Path | None) -> CachedStatus | None:
    """The last status; `None` if there is none, or if the file cannot be read."""
    if file is None:
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        status = CachedStatus(**values)
        is_sound = status.read_at <= status.tried_at
    except (OSError, ValueError, TypeError):
        return None
    return status if is_sound else None


def write_status(file: Path | None, status: CachedStatus) -> None:
    """Replace the last status; a full or read-only disk raises nothing."""
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only its owner may read it. The replacement is atomic: several prompts may write.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(status), stream)
        Path(name).replace(file)
    except OSError:
        return
