"""Our own webhook: a signed JSON document over HTTP.

Headers and signature are those of Standard Webhooks (standardwebhooks.com), so that receivers can
use its libraries, and an `Idempotency-Key`. Redirects are not followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tokenledger_exporter.alerts.targets import TargetError, check_webhook, resolve

if TYPE_CHECKING:
    from tokenledger_exporter.alerts.message import Message

_PREFIX: Final = "whsec_"
_MIN_KEY_BYTES: Final = 16


class MayHaveArrivedError(TargetError):
    """The request was sent and no answer came: the message may have arrived."""


def key_of(reference: str) -> bytes:
    """The key that a reference refers to: text, or `whsec_` and base64.

    Raises:
        TargetError: it cannot be read, or is shorter than 16 bytes.
    """
    text = resolve(reference)
    key = text.encode()
    if text.startswith(_PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except ValueError:
            raise TargetError(f"the key of {reference} is not base64 after whsec_") from None
    if len(key) < _MIN_KEY_BYTES:
        raise TargetError(f"the key of {reference} is too short: use 16 bytes or more")
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def post(url: str, key: bytes, message: Message, seconds: float) -> None:
    """Send a message.

    Args:
        url: `webhook+https://host/path`, which may have a query.
        key: what it is signed with.
        message: the message.
        seconds: the longest time to connect, and to wait for each part of the answer.

    Raises:
        TargetError: it did not arrive; `MayHaveArrivedError` if that is not certain.
    """
    check_webhook(url)
    parts = urlsplit(url)
    body = json.dumps(message.document, ensure_ascii=False).encode()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "tokenledger-alerts",
        "Idempotency-Key": message.delivery_id,
        "webhook-id": message.delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, message.delivery_id, timestamp, body),
    }
    if parts.username:
        credentials = f"{parts.username}:{parts.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts.scheme, str(parts.hostname), parts.port, seconds)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise TargetError(f"cannot connect to the webhook ({type(error).__name__})") from None
        status = _exchange(connection, path, body, headers)
    finally:
        connection.close()
    if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's success
        raise TargetError(f"the webhook answered {status}")


def _exchange(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> int:
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except ValueError:
        raise TargetError("the webhook's URL is malformed: use webhook+https://host/path") from None
    except (OSError, http.client.HTTPException) as error:
        raise MayHaveArrivedError(f"the webhook did not answer ({type(error).__name__})") from None


def _connection(
    scheme: str, host: str, port: int | None, seconds: float
) -> http.client.HTTPConnection:
    if scheme.lower() == "webhook+http":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
