"""Who a client talks to, read off its base URL."""

from __future__ import annotations

from typing import Final, NamedTuple

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Endpoint(NamedTuple):
    """Host and port of a client's base URL; "" and `None` where it has none."""

    address: str = ""
    port: int | None = None


def endpoint_of(client: object) -> Endpoint:
    """The endpoint of an SDK client, by its `base_url`."""
    url = getattr(client, "base_url", None)
    host = getattr(url, "host", None)
    if not isinstance(host, str):
        return Endpoint()
    port = getattr(url, "port", None) or _DEFAULT_PORTS.get(getattr(url, "scheme", ""))
    return Endpoint(host, port)
