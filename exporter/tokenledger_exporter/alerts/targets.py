"""Where messages go: references to secrets, and webhooks without credentials.

A secret is read when a message is sent. It is never stored, printed or logged: an error names the
reference, not what it refers to.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tokenledger_exporter.errors import InvalidRequestError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

WEBHOOKS: Final = ("webhook+https", "webhook+http")
"""Schemes of our own signed webhook; any other URL is one of apprise."""

DEFAULT_SECRET: Final = "env:TOKENLEDGER_WEBHOOK_SECRET"  # noqa: S105 - a reference
"""Where the key of webhooks is unless an alert says otherwise."""

MAX_TARGETS: Final = 20
_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_FILE: Final = re.compile(r"file:(/[^\s@?]+)")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_USE: Final = (
    "use env:NAME or file:/path, which refer to a URL of apprise such as slack://..., or "
    "webhook+https://host/path"
)


class TargetError(LedgerError):
    """A target cannot be used; the text names the reference and holds no secret."""


def read_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Check targets as they are stored.

    Raises:
        InvalidRequestError: there is none, or one holds a secret or a line break, or is malformed.
    """
    checked = tuple(dict.fromkeys(map(_read_target, targets)))
    if not 1 <= len(checked) <= MAX_TARGETS:
        raise InvalidRequestError(f"an alert has 1 to {MAX_TARGETS} targets, not {len(checked)}")
    return checked


def read_secret(reference: str) -> str:
    """Check the reference of the key that signs webhooks.

    Raises:
        InvalidRequestError: it is no reference.
    """
    if reference and not (_ENV.fullmatch(reference) or _FILE.fullmatch(reference)):
        raise InvalidRequestError(
            "the secret must be a reference, which is not stored: use env:NAME or file:/path"
        )
    return reference


def resolve(reference: str) -> str:
    """What a reference refers to; a webhook refers to itself.

    Raises:
        TargetError: the variable is not set, the file cannot be read, or it is empty or holds a
            line break.
    """
    if match := _ENV.fullmatch(reference):
        text = os.environ.get(match[1], "")
        missing = f"the environment variable {match[1]} is not set"
    elif match := _FILE.fullmatch(reference):
        text, missing = _content(match[1]), f"the file {match[1]} is empty"
    else:
        return reference
    text = text.strip()
    if not text:
        raise TargetError(missing)
    if not text.isprintable():
        raise TargetError(f"{reference} holds a line break or another control character")
    return text


def is_webhook(url: str) -> bool:
    """Whether a URL is one of our own webhook."""
    return url.partition("://")[0].lower() in WEBHOOKS


def check_webhook(url: str) -> None:
    """Check the URL of a webhook.

    Raises:
        TargetError: it has no host, or a port that is no number.
    """
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise TargetError("the webhook's URL is malformed: use webhook+https://host/path")


def _read_target(target: str) -> str:
    if not target.isprintable() or " " in target:
        raise InvalidRequestError(
            f"a target holds a line break, a space or another invisible character; {_USE}"
        )
    if _ENV.fullmatch(target) or _FILE.fullmatch(target):
        return target
    if not is_webhook(target):
        scheme = target.partition("://")[0] if "://" in target else ""
        what = f"a {scheme}:// URL" if _SCHEME.fullmatch(scheme) else "this target"
        raise InvalidRequestError(
            f"{what} may hold a secret and is not stored: put it into an environment variable or "
            f"a file; {_USE}"
        )
    if "@" in target or "?" in target or "#" in target:
        raise InvalidRequestError(
            "a stored webhook must have no user, password, query or fragment, which may be "
            "secrets: put the URL into an environment variable and use env:NAME"
        )
    try:
        check_webhook(target)
    except TargetError as error:
        raise InvalidRequestError(str(error)) from None
    return target


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TargetError(f"the file {path} cannot be read ({type(error).__name__})") from None
