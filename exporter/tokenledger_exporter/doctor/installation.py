"""Checks the installed package: another distribution may have overwritten or removed its files."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Final

from tokenledger_exporter.doctor.check import FAIL, OK, Check

_PACKAGE: Final = "tokenledger-otel"
# TokenLedger 0.1, which installs the same folder and the same command. pip does not warn.
_OLDER_PACKAGE: Final = "tokenledger"
_REPAIR: Final = f"pip install --force-reinstall --no-deps {_PACKAGE}"


def check_installation() -> Check:
    """Whether every installed file is in place and no other distribution owns the same ones."""
    try:
        older = version(_OLDER_PACKAGE)
    except PackageNotFoundError:
        return _check_files()
    return Check(
        "installation",
        FAIL,
        f"the package {_OLDER_PACKAGE} {older} is installed too, and both own the folder "
        "'tokenledger' and the command",
        f"pip uninstall -y {_OLDER_PACKAGE} && {_REPAIR}",
    )


def _check_files() -> Check:
    package = distribution(_PACKAGE)
    missing = [
        str(path)
        for path in package.files or ()
        if path.suffix == ".py" and not package.locate_file(path).is_file()  # type: ignore[attr-defined]
    ]
    more = len(missing) - 1
    if not missing:
        return Check("installation", OK, f"{_PACKAGE} {package.version} is complete")
    return Check(
        "installation",
        FAIL,
        f"{_PACKAGE} lacks {missing[0]}" + (f" and {more} more" if more else ""),
        _REPAIR,
    )
