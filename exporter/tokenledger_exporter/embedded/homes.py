"""Temporary folders for servers' homes, and the end of those whose process was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

try:
    import fcntl
except ImportError:  # Windows has no flock, so a folder of a killed process stays there.
    fcntl = None  # type: ignore[assignment]

_PREFIX: Final = "tokenledger-postgres-"
# The process that made a folder locks this file in it for as long as it lives.
_OWNER: Final = "owner"


@contextmanager
def temporary_home() -> Generator[Path]:
    """A temporary folder for servers' homes that the server's user can access.

    Folders of processes that were killed are deleted first.
    """
    _delete_abandoned()
    with ExitStack() as stack:
        # The lock is released last: until then, no other process takes the folder for abandoned.
        locks = stack.enter_context(ExitStack())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX))
        home = Path(folder)
        home.chmod(0o755)
        locks.callback(os.close, _own(home))
        yield home


def _own(home: Path) -> int:
    """Lock a new file of the folder; it gets its name once it is locked, and not before."""
    unnamed = home / f"{_OWNER}.new"
    file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)
        unnamed.rename(home / _OWNER)
    return file


def _delete_abandoned() -> None:
    """Delete the folders of this user whose file no process has locked."""
    if fcntl is None:
        return
    for home in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another process may delete the same folder, or it is another user's.
        with suppress(OSError):
            if home.is_symlink() or home.stat().st_uid != os.getuid():
                continue
            file = os.open(home / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home)
            finally:
                os.close(file)
