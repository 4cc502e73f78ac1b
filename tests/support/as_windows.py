"""Simulates Windows' file rules on Linux: no flock, no pread, and open files cannot be deleted.

By Microsoft's documentation (CreateFile, `dwShareMode`), an open file can be neither deleted nor
renamed without FILE_SHARE_DELETE, which Python's `os.open` does not request (checked 2026-11-26).
`python -m support.as_windows FILE ...` runs a program with these rules.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MISSING: Final = ("pread", "pwrite", "fdatasync", "fork", "register_at_fork", "fchmod")


def _is_open(path: str) -> bool:
    """Whether any process has a file open."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if descriptor.samefile(path):
                return True
        except OSError:
            # The process has ended or belongs to another user, or the file does not exist.
            continue
    return False


def _guarded(change: Callable[..., Any]) -> Callable[..., Any]:
    def only_if_closed(path: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as `change`
        if _is_open(path):
            raise PermissionError(13, "The process cannot access the file", str(path))
        return change(path, *args, **kwargs)

    return only_if_closed


def play() -> None:
    """Apply the rules to this process."""
    sys.modules["fcntl"] = None  # type: ignore[assignment]
    for name in _MISSING:
        delattr(os, name)
    for name in ("unlink", "remove", "rename", "replace"):
        setattr(os, name, _guarded(getattr(os, name)))


if __name__ == "__main__":
    play()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
