"""Sessions of browsers: a signed cookie that refers to a token and ends with it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from itsdangerous import BadData, URLSafeTimedSerializer

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from tokenledger_exporter.web.headers import Headers

_KEY_BYTES: Final = 32
_SALT: Final = "tokenledger-dashboard-session"
_NAME: Final = "tokenledger_session"
# A browser takes a cookie of this name from HTTPS, for this host and every path, alone.
_SECURE_NAME: Final = f"__Host-{_NAME}"
_MAX_ENDED: Final = 10_000
_MAX_COOKIE: Final = 1_024


class Session(NamedTuple):
    """What a cookie says.

    Args:
        token_hash: the hash of the token it was made for.
        session_id: a random name, by which signing out ends it.
    """

    token_hash: str
    session_id: str


class Sessions:
    """Makes and reads the cookies.

    Args:
        hours: how long a session lasts.
        key_file: file with the key, which several processes may share; "" for a key of this
            process, whose sessions end with it.

    Raises:
        InvalidRequestError: the file cannot be read, or its key is too short.
    """

    def __init__(self, hours: float, key_file: str = "") -> None:
        key = _read_key(key_file) if key_file else secrets.token_bytes(_KEY_BYTES)
        self._signer: Final = URLSafeTimedSerializer(key, salt=_SALT)
        self._seconds: Final = round(hours * 3_600)
        # Ended by signing out, until they would have expired: session id -> when.
        self._ended: Final[dict[str, float]] = {}

    def session_of(self, headers: Headers) -> Session | None:
        """The session of a request; `None` without one, and if it is forged, old or ended."""
        for text in _cookies(headers):
            try:
                values = self._signer.loads(text, max_age=self._seconds)
            except BadData:
                continue
            match values:
                case [str() as token_hash, str() as session_id] if session_id not in self._ended:
                    return Session(token_hash, session_id)
                case _:
                    continue
        return None

    def cookie(self, token_hash: str, *, is_secure: bool) -> str:
        """The Set-Cookie header of a new session."""
        text = self._signer.dumps([token_hash, secrets.token_urlsafe(12)])
        return _set_cookie(str(text), self._seconds, is_secure=is_secure)

    def end(self, session: Session) -> None:
        """End a session in this process, so that a copy of its cookie is worth nothing."""
        now = time.monotonic()
        for session_id in [name for name, until in self._ended.items() if until < now]:
            del self._ended[session_id]
        if len(self._ended) >= _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[session.session_id] = now + self._seconds

    @staticmethod
    def expired_cookies() -> tuple[str, ...]:
        """The Set-Cookie headers that remove a session's cookie from the browser."""
        return (_set_cookie("", 0, is_secure=False), _set_cookie("", 0, is_secure=True))


def _set_cookie(text: str, seconds: int, *, is_secure: bool) -> str:
    name, secure = (_SECURE_NAME, "; Secure") if is_secure else (_NAME, "")
    return f"{name}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _cookies(headers: Headers) -> list[str]:
    """The values of our cookie in a request, with and without the secure name."""
    texts: list[str] = []
    for header in headers.get(b"cookie", ()):
        # A parser of whole headers would stop at an odd cookie of another app.
        for item in header.decode("latin-1").split(";"):
            name, _, value = item.strip().partition("=")
            if name in {_SECURE_NAME, _NAME}:
                texts.append(value)
    return [text for text in texts if 0 < len(text) <= _MAX_COOKIE]


def _read_key(file: str) -> bytes:
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise InvalidRequestError(
            f"cannot read the session key file {file} ({type(error).__name__})"
        ) from None
    if len(key) < _KEY_BYTES:
        raise InvalidRequestError(
            f"the session key in {file} is shorter than {_KEY_BYTES} bytes: make one with "
            f"'openssl rand -hex {_KEY_BYTES} > {file}'"
        )
    return key
