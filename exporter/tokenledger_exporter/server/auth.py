"""Who may send: bearer tokens, known by their hash alone, each bound to an organization.

Several tokens of one organization are valid at a time, so that one can be exchanged while senders
go on. The file is read again when it changes: its good lines hold, its bad ones are named in the
log. A file that cannot be read, or was written just now, changes nothing and is read again a second
later.
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
"""Binds a token to none: its spans keep the one they claim, as from a Collector of your own."""

TRUSTED: Final = "trusted"
"""Ends the line of a token whose source the operator runs: its reports are the operator's own."""

_PREFIX: Final = "tkl_"
_RANDOM_BYTES: Final = 32
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_ORGANIZATION: Final = 255
_LOOK_SECONDS: Final = 1.0
_READ_SECONDS: Final = 5.0
_SETTLED_SECONDS: Final = 0.5
_SCHEME: Final = "bearer "


class Bearer(NamedTuple):
    """Who has a token.

    Args:
        organization: whose every call it reports is; "" if it may report anybody's.
        is_trusted: whether its reports are settled as those of the operator's own sources.
    """

    organization: str
    is_trusted: bool


def new_token() -> str:
    """A token nobody else has: 256 random bits, so that its plain hash tells nothing of it."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def token_line(organization: str, token: str) -> str:
    """What stands for a token in the list.

    Raises:
        UsageError: the organization is empty, too long or would break the line.
    """
    if not 0 < len(organization) <= _LONGEST_ORGANIZATION or re.search(r"[\s,:#]", organization):
        raise InvalidRequestError(
            "an organization's name has 1 to 255 letters and no blank, comma, colon or #; "
            f"{ANY_ORGANIZATION} stands for any"
        )
    return f"{organization}:{_hash(token)}"


class Tokens:
    """The tokens that are valid now.

    Args:
        text: lines (or items between commas) `organization:sha256 of the token`, with `:trusted`
            behind it for a source that the operator runs.
        file: a file of such lines, read again when it changes.

    Raises:
        UsageError: a line is none, or the file cannot be read; the message has no line's content.
    """

    def __init__(self, text: str = "", file: str = "") -> None:
        origin = "TOKENLEDGER_SERVER_TOKENS"
        fixed, bad = _parsed(text)
        if bad:
            raise InvalidRequestError(_named(bad[0], origin))
        self._fixed: Final = fixed
        self._file: Final = Path(file) if file else None
        self._known = self._fixed
        self._content: bytes = b""
        self._stamp: tuple[int, ...] = ()
        self._read_at = self._looked_at = 0.0
        if self._file is not None and (bad := self._read(self._file)):
            raise InvalidRequestError(_named(bad[0], file))

    def __bool__(self) -> bool:
        return bool(self._known) or self._file is not None

    def bearer_of(self, authorization: str) -> Bearer | None:
        """Whose token an Authorization header holds; `None` for nobody's."""
        self._look_again()
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        # Looked up by a hash of what the sender said: how long that takes tells nothing of a token.
        return self._known.get(_hash(authorization[len(_SCHEME) :].strip()))

    def _look_again(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked_at < _LOOK_SECONDS:
            return
        try:
            bad = self._read(self._file)
        except InvalidRequestError as error:
            # Whoever edits the file must not lock every sender out.
            warn("tokens_kept", f"{error}; the tokens read before stay valid")
        else:
            if bad:
                warn("tokens_bad_line", f"{_named(bad[0], str(self._file))}; the others hold")

    def _read(self, file: Path) -> list[int]:
        """Take over the file's content if it is another; the numbers of its bad lines then."""
        self._looked_at = time.monotonic()
        try:
            with file.open("rb") as opened:
                found = os.fstat(opened.fileno())
                stamp = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
                # A file system with coarse clocks may show the same stamp for other content.
                if stamp == self._stamp and self._looked_at - self._read_at < _READ_SECONDS:
                    return []
                if self._stamp and 0 <= time.time() - found.st_mtime < _SETTLED_SECONDS:
                    # Somebody may be writing it: half a file would lock senders out.
                    return []
                content: bytes = opened.read()
            bad: list[int] = []
            if not self._stamp or content != self._content:
                known, bad = _parsed(content.decode())
                self._known = {**self._fixed, **known}
        except (OSError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise InvalidRequestError(f"the tokens file {file} cannot be read ({kind})") from None
        # Only what was read is known: a failed attempt is made again.
        self._content, self._stamp, self._read_at = content, stamp, self._looked_at
        return bad


def _parsed(text: str) -> tuple[dict[str, Bearer], list[int]]:
    """Bearers by hash, and the numbers of the lines that are none."""
    found: dict[str, Bearer] = {}
    bad: list[int] = []
    for number, line in enumerate(re.split(r"[\n,]", text), start=1):
        told = line.partition("#")[0].strip()
        if not told:
            continue
        organization, _, rest = told.partition(":")
        hashed, colon, word = rest.partition(":")
        if organization and _HASH.fullmatch(hashed) and word == (TRUSTED if colon else ""):
            whose = "" if organization == ANY_ORGANIZATION else organization
            found[hashed] = Bearer(whose, is_trusted=bool(colon))
        else:
            bad.append(number)
    return found, bad


def _named(number: int, origin: str) -> str:
    return (
        f"item {number} of {origin} is not organization:sha256 or organization:sha256:trusted: "
        "make one with 'tokenledger serve --new-token ORGANIZATION'"
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
