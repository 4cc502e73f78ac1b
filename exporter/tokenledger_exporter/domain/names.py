"""Names that people give to what they set up, such as budgets and alerts."""

from __future__ import annotations

import re
from typing import Final

from tokenledger_exporter.errors import InvalidRequestError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


def read_name(kind: str, name: str) -> str:
    """A name.

    Args:
        kind: what it names, such as `budget`, for the error.
        name: what was given.

    Raises:
        InvalidRequestError: it is not one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"invalid {kind} name {name!r}: use up to 63 letters, digits, dots, dashes and "
            "underscores, and start with a letter or digit"
        )
    return name
