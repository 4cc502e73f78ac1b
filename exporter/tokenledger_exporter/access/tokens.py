"""Bearer tokens of senders, stored as hashes, each bound to an organization.

An organization may have several valid tokens, so that a token can be rotated while senders go on.
The file is reloaded when it changes: valid lines take effect, and invalid lines are named in the
log. A file that cannot be read, or was written within the last half second, changes nothing and is
read again a second later.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final, NamedTuple

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.log import warn

ANY_ORGANIZATION: Final = "*"
"""Leaves a token unbound: its spans keep their organization; for a Collector you run yourself."""

TRUSTED: Final = "trusted"
"""Ends the line of a token whose reports count as those of the operator's own sources."""

_PREFIX: Final = "tkl_"
_RANDOM_BYTES: Final = 32
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MAX_ORGANIZATION_LENGTH: Final = 255
_CHECK_SECONDS: Final = 1.0
_REREAD_SECONDS: Final = 5.0
_MIN_FILE_AGE_SECONDS: Final = 0.5
_SCHEME: Final = "bearer "


class Bearer(NamedTuple):
    """The holder of a token.

    Args:
        organization: the organization of every call it reports; "" if it may report for any.
        is_trusted: whether its reports are deduplicated like those of the operator's own sources.
    """

    organization: str
    is_trusted: bool


def new_token() -> str:
    """A new token of 256 random bits, enough for a hash without a salt to be safe."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def token_line(organization: str, token: str) -> str:
    """The line of a token for the tokens file.

    Raises:
        InvalidRequestError: the organization is empty, too long or would break the line.
    """
    if not 0 < len(organization) <= _MAX_ORGANIZATION_LENGTH or re.search(r"[\s,:#]", organization):
        raise InvalidRequestError(
            "an organization must have 1 to 255 characters without whitespace, comma, colon or #; "
            f"use {ANY_ORGANIZATION} for any organization"
        )
    return f"{organization}:{token_hash(token)}"


class Tokens:
    """The currently valid tokens.

    Args:
        text: lines, or items separated by commas, `organization:sha256 of the token`, with
            `:trusted` appended for a source that the operator runs.
        file: path of a file with such lines, reloaded when it changes.

    Raises:
        InvalidRequestError: a line is invalid, or the file cannot be read; the message contains no
            line of it.
    """

    def __init__(self, text: str = "", file: str = "") -> None:
        origin = "TOKENLEDGER_SERVER_TOKENS"
        fixed, bad_lines = _parse(text)
        if bad_lines:
            raise InvalidRequestError(_line_error(bad_lines[0], origin))
        self._fixed: Final = fixed
        self._file: Final = Path(file) if file else None
        self._bearers = self._fixed
        self._content: bytes = b""
        self._stamp: tuple[int, ...] = ()
        self._read_at = self._checked_at = 0.0
        if self._file is not None and (bad_lines := self._read(self._file)):
            raise InvalidRequestError(_line_error(bad_lines[0], file))

    def __bool__(self) -> bool:
        return bool(self._bearers) or self._file is not None

    def bearer_of(self, authorization: str) -> Bearer | None:
        """The holder of the token in an Authorization header; `None` for an unknown token."""
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        return self.bearer_of_hash(token_hash(authorization[len(_SCHEME) :].strip()))

    def bearer_of_hash(self, hashed: str) -> Bearer | None:
        """The holder of the token with this hash; `None` for an unknown token."""
        self._reload_if_changed()
        # The lookup is by hash, so that its timing reveals nothing about a token.
        return self._bearers.get(hashed)

    def _reload_if_changed(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._checked_at < _CHECK_SECONDS:
            return
        try:
            bad_lines = self._read(self._file)
        except InvalidRequestError as error:
            # A mistake in the file must not lock out every sender.
            warn("tokens_unreadable", f"{error}; previously loaded tokens stay valid")
        else:
            if bad_lines:
                error_text = _line_error(bad_lines[0], str(self._file))
                warn("tokens_bad_line", f"{error_text}; the valid lines are in effect")

    def _read(self, file: Path) -> list[int]:
        """Load the file if its content has changed; returns the numbers of its invalid lines."""
        self._checked_at = time.monotonic()
        try:
            with file.open("rb") as opened:
                info = os.fstat(opened.fileno())
                stamp = info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
                # On a file system with coarse timestamps, changed content may have the same stamp.
                if stamp == self._stamp and self._checked_at - self._read_at < _REREAD_SECONDS:
                    return []
                if self._stamp and 0 <= time.time() - info.st_mtime < _MIN_FILE_AGE_SECONDS:
                    # The file may be incomplete, which would lock senders out.
                    return []
                content: bytes = opened.read()
            bad_lines: list[int] = []
            if not self._stamp or content != self._content:
                bearers, bad_lines = _parse(content.decode())
                self._bearers = {**self._fixed, **bearers}
        except (OSError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise InvalidRequestError(f"cannot read the tokens file {file} ({kind})") from None
        # These are set only after a successful read, so that a failed one is repeated.
        self._content, self._stamp, self._read_at = content, stamp, self._checked_at
        return bad_lines


def _parse(text: str) -> tuple[dict[str, Bearer], list[int]]:
    """The bearers by hash, and the numbers of the invalid lines."""
    bearers: dict[str, Bearer] = {}
    bad_lines: list[int] = []
    for number, line in enumerate(re.split(r"[\n,]", text), start=1):
        item = line.partition("#")[0].strip()
        if not item:
            continue
        organization, _, rest = item.partition(":")
        hashed, colon, word = rest.partition(":")
        if organization and _HASH.fullmatch(hashed) and word == (TRUSTED if colon else ""):
            bound_to = "" if organization == ANY_ORGANIZATION else organization
            bearers[hashed] = Bearer(bound_to, is_trusted=bool(colon))
        else:
            bad_lines.append(number)
    return bearers, bad_lines


def _line_error(number: int, origin: str) -> str:
    return (
        f"entry {number} of {origin} is not organization:sha256 or organization:sha256:trusted; "
        "create a line with 'tokenledger serve --new-token ORGANIZATION'"
    )


def token_hash(token: str) -> str:
    """The SHA-256 of a token, as in the tokens file."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
