"""Headers of a request as the gate reads them, and what they say about where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers: TypeAlias = Mapping[bytes, Sequence[bytes]]
"""Lower-case name -> its values, in the order in which they came."""


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an ASGI scope by name."""
    headers: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        headers.setdefault(name.lower(), []).append(value)
    return headers


def single(headers: Headers, name: bytes) -> str | None:
    """The value of a header that was sent once; `None` if it is missing or was repeated."""
    values = headers.get(name, ())
    return values[0].decode("latin-1") if len(values) == 1 else None


def comes_from_here(headers: Headers) -> bool:
    """Whether a browser says that a page of this server sent the request.

    A request without both headers is refused too: every browser sends one of them with a form.
    """
    site = single(headers, b"sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host, origin = single(headers, b"host"), single(headers, b"origin")
    return bool(host and origin) and _host_of(origin or "") == (host or "").lower()


def comes_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that a page of another server sent the request.

    A program that is no browser sends neither header.
    """
    if b"sec-fetch-site" not in headers and b"origin" not in headers:
        return False
    return not comes_from_here(headers)


def is_plain_http(headers: Headers) -> bool:
    """Whether the browser says that it reached this server without TLS."""
    origin = single(headers, b"origin") or ""
    return origin.lower().startswith("http://")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
