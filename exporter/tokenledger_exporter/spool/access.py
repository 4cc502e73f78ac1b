"""Whose a spool's folder and files are: nobody else may put calls in, or take them away.

What is in a spool is written with the database rights of whoever drains it. So a folder or file
that belongs to somebody else, or that others may write to, is left alone and named. Windows has no
owners in this sense: there everything is taken as one's own.
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

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
# A link is not followed, and a pipe does not wait for its other end.
_AS_IT_STANDS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")


def spool_folder(spool_dir: str, ledger: str) -> Path:
    """The folder of one ledger's segments: the user's state folder unless told otherwise."""
    if spool_dir:
        return Path(spool_dir) / ledger
    state = os.environ.get("XDG_STATE_HOME")
    try:
        root = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:
        # A user without a home: no folder can be made here, so memory takes over and the warning
        # names the variable to set.
        root = Path("/nonexistent")
    return root / "tokenledger" / "spool" / ledger


def folder_fault(folder: Path) -> str:
    """Why a ledger's folder is not to be used; "" if it may be, or does not exist."""
    try:
        found = folder.lstat()
    except OSError:
        return ""
    if not hasattr(os, "geteuid"):
        return ""
    if not stat.S_ISDIR(found.st_mode):
        return "it is a link or a file, and not a folder"
    if found.st_uid != os.geteuid() and found.st_uid != _uid_of_new_files(folder):
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & _OTHERS_WRITE:
        return "others may write to it, run chmod 700 on it"
    return ""


def require_own(folder: Path) -> None:
    """Refuse a folder that is not ours alone.

    Raises:
        PermissionError: it says why.
    """
    if fault := folder_fault(folder):
        raise PermissionError(errno.EPERM, fault)


def is_own(folder: Path) -> bool:
    """Whether a folder may be recovered from; if not, that is logged once."""
    fault = folder_fault(folder)
    if fault:
        warn_once("spool_folder_refused", f"the spool's folder {folder} is left alone: {fault}")
    return not fault


def open_own(path: Path, flags: int) -> int:
    """Open a segment that is a file of ours alone; any other is left alone, and logged once.

    Raises:
        OSError: it could not be opened, or is not ours.
    """
    try:
        fd = os.open(path, flags | _AS_IT_STANDS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            warn_once("spool_file_refused", f"{path} is left alone: it is a link")
        raise
    fault = _file_fault(path, os.fstat(fd))
    if fault:
        os.close(fd)
        warn_once("spool_file_refused", f"{path} is left alone: {fault}")
        raise PermissionError(errno.EPERM, fault)
    return fd


def file_fault(path: Path) -> str:
    """Why a segment is left alone; "" if it is not, or is gone."""
    try:
        return _file_fault(path, path.lstat())
    except OSError:
        return ""


def is_of_ledger(folder: Path, ledger: str) -> bool:
    """Whether a segment's header names the ledger that its folder is for."""
    return ledger == folder.name or not _FINGERPRINT.fullmatch(folder.name)


def _file_fault(path: Path, found: os.stat_result) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_uid != path.parent.stat().st_uid:
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & _OTHERS_WRITE:
        return "others may write to it"
    if found.st_nlink > 1:
        return "it has another name elsewhere"
    return ""


def _uid_of_new_files(folder: Path) -> int:
    """Whose the files are that we make: a network file system may say another user than we are."""
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
    """Log a finding the first time a process makes it."""
    warn(event, sentence)
