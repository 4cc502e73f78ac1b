"""Checks the owner and mode of a spool's folder and files, so that others cannot add or take calls.

The records of a spool are written with the database rights of the process that drains it. So a
folder or file that belongs to another user, or that others may write to, is not used, and is named
in a log message. Windows has no owners in this sense: there, every file is accepted.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

from tokenledger_exporter.log import warn

_GROUP_OR_OTHER_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
# Do not follow a link, and do not block on a pipe.
_SAFE_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")


def spool_folder(spool_dir: str, ledger: str) -> Path:
    """The folder of one ledger's segments, by default below the user's state folder."""
    if spool_dir:
        return Path(spool_dir) / ledger
    state = os.environ.get("XDG_STATE_HOME")
    try:
        root = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:
        # A user without a home directory: no folder can be created, so records wait in memory and
        # the warning names the variable to set.
        root = Path("/nonexistent")
    return root / "tokenledger" / "spool" / ledger


def folder_fault(folder: Path) -> str:
    """Why a ledger's folder must not be used; "" if it may be used or does not exist."""
    try:
        status = folder.lstat()
    except OSError:
        return ""
    if not hasattr(os, "geteuid"):
        return ""
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder but a link or a file"
    if status.st_uid != os.geteuid() and status.st_uid != _uid_of_new_files(folder):
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & _GROUP_OR_OTHER_WRITE:
        return "other users may write to it; run chmod 700 on it"
    return ""


def require_own(folder: Path) -> None:
    """Refuse a folder that other users own or may write to.

    Raises:
        PermissionError: with the reason.
    """
    if fault := folder_fault(folder):
        raise PermissionError(errno.EPERM, fault)


def is_own(folder: Path) -> bool:
    """Whether segments of a folder may be recovered; if not, the reason is logged once."""
    fault = folder_fault(folder)
    if fault:
        warn_once("spool_folder_refused", f"the spool folder {folder} is ignored: {fault}")
    return not fault


def open_own(path: Path, flags: int) -> int:
    """Open a segment that only this user can write; any other is logged once and not opened.

    Raises:
        OSError: it could not be opened, or is not ours.
    """
    try:
        fd = os.open(path, flags | _SAFE_FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            warn_once("spool_file_refused", f"{path} is not read: it is a link")
        raise
    fault = _file_fault(path, os.fstat(fd))
    if fault:
        os.close(fd)
        warn_once("spool_file_refused", f"{path} is not read: {fault}")
        raise PermissionError(errno.EPERM, fault)
    return fd


def file_fault(path: Path) -> str:
    """Why a segment must not be read; "" if it may be read or is gone."""
    try:
        return _file_fault(path, path.lstat())
    except OSError:
        return ""


def is_of_ledger(folder: Path, ledger: str) -> bool:
    """Whether a segment's header names the ledger that its folder is for."""
    return ledger == folder.name or not _FINGERPRINT.fullmatch(folder.name)


def _file_fault(path: Path, status: os.stat_result) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_uid != path.parent.stat().st_uid:
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & _GROUP_OR_OTHER_WRITE:
        return "other users may write to it"
    if status.st_nlink > 1:
        return "it has a second hard link"
    return ""


def _uid_of_new_files(folder: Path) -> int:
    """The owner of files that we create: a network file system may report another user."""
    probe = folder / f".probe-{os.urandom(8).hex()}"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return -1
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        probe.unlink(missing_ok=True)


@lru_cache(maxsize=1024)
def warn_once(event: str, sentence: str) -> None:
    """Log a sentence the first time only."""
    warn(event, sentence)
