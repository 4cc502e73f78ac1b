"""Who may send: bearer tokens, known by their hash alone, each bound to an organization.

Several tokens of one organization are valid at a time, so that one can be exchanged while senders
go on. The file is read again when it changes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path
from typing import Final

from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.events import warn

ANY_ORGANIZATION: Final = "*"
"""Binds a token to none: its spans keep the one they claim, as from a Collector of your own."""

_PREFIX: Final = "tkl_"
_RANDOM_BYTES: Final = 32
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_ORGANIZATION: Final = 255
_LOOK_SECONDS: Final = 1.0
_SCHEME: Final = "bearer "


def new_token() -> str:
    """A token nobody else has: 256 random bits, so that its plain hash tells nothing of it."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def token_line(organization: str, token: str) -> str:
    """What stands for a token in the list.

    Raises:
        UsageError: the organization is empty, too long or would break the line.
    """
    if not 0 < len(organization) <= _LONGEST_ORGANIZATION or re.search(r"[\s,:#]", organization):
        raise UsageError(
            "an organization's name has 1 to 255 letters and no blank, comma, colon or #; "
            f"{ANY_ORGANIZATION} stands for any"
        )
    return f"{organization}:{_hash(token)}"


class Tokens:
    """The tokens that are valid now.

    Args:
        text: lines (or items between commas) `organization:sha256 of the token`.
        file: a file of such lines, read again when it changes.

    Raises:
        UsageError: a line is none, or the file cannot be read; the message has no line's content.
    """

    def __init__(self, text: str = "", file: str = "") -> None:
        self._fixed: Final = _parsed(text, "TOKENLEDGER_SERVER_TOKENS")
        self._file: Final = Path(file) if file else None
        self._known = self._fixed
        self._stamp: tuple[int, int] | None = None
        self._looked_at = 0.0
        if self._file is not None:
            self._read(self._file)

    def __bool__(self) -> bool:
        return bool(self._known) or self._file is not None

    def organization_of(self, authorization: str) -> str | None:
        """Whose token an Authorization header holds: "" for any's, `None` for nobody's."""
        self._look_again()
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        hashed = _hash(authorization[len(_SCHEME) :].strip())
        found: str | None = None
        # Every one is compared, and none sooner than another.
        for known, organization in self._known:
            if hmac.compare_digest(hashed, known):
                found = "" if organization == ANY_ORGANIZATION else organization
        return found

    def _look_again(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked_at < _LOOK_SECONDS:
            return
        try:
            self._read(self._file)
        except UsageError as error:
            # Whoever edits the file must not lock every sender out.
            warn("tokens_kept", f"{error}; the tokens read before stay valid")

    def _read(self, file: Path) -> None:
        self._looked_at = time.monotonic()
        try:
            found = file.stat()
            stamp = found.st_mtime_ns, found.st_size
            if stamp == self._stamp:
                return
            self._stamp = stamp
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise UsageError(f"the tokens file {file} cannot be read ({kind})") from None
        self._known = (*self._fixed, *_parsed(text, str(file)))


def _parsed(text: str, origin: str) -> tuple[tuple[str, str], ...]:
    """Hash and organization of each line."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(re.split(r"[\n,]", text), start=1):
        told = line.partition("#")[0].strip()
        if not told:
            continue
        organization, colon, hashed = told.partition(":")
        if not (organization and colon and _HASH.fullmatch(hashed)):
            raise UsageError(
                f"item {number} of {origin} is no organization:sha256: "
                "make one with 'tokenledger serve --new-token ORGANIZATION'"
            )
        found.append((hashed, organization))
    return tuple(found)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
