"""A server on loopback with scripted answers per path, for APIs that the fake provider lacks."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping
    from socketserver import BaseServer

    from typing_extensions import Self

    from support.sdk_calls import Sdk

_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Reply:
    """One answer."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    content_encoding: str = "identity"


@dataclass(frozen=True)
class Received:
    """One received request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        return json.loads(self.body)


def said(body: object, status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(json.dumps(body).encode(), status=status)


def lines(*objects: object) -> Reply:
    """A file of JSON lines."""
    body = b"".join(json.dumps(item).encode() + b"\n" for item in objects)
    return Reply(body, "application/octet-stream")


def streamed(events: Iterable[Mapping[str, Any]], *, done: bool = False) -> Reply:
    """A stream of events, named by their type if they have one."""
    texts = [
        (f"event: {event['type']}\n" if "type" in event else "") + f"data: {json.dumps(event)}\n\n"
        for event in events
    ]
    return Reply(
        ("".join(texts) + ("data: [DONE]\n\n" if done else "")).encode(), "text/event-stream"
    )


class Loopback:
    """The server as a context manager."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._replies: dict[str, list[Reply]] = {}
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=[_POLL_SECONDS])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, path: str, *replies: Reply) -> None:
        """Set the answers of a path, in order; the last one repeats. `*` is every other path."""
        self._replies[path] = list(replies)

    def reply(self, path: str) -> Reply:
        waiting = self._replies.get(path.partition("?")[0]) or self._replies.get("*")
        if not waiting:
            return said({"error": {"message": "no such path"}}, 404)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def __init__(
        self,
        loopback: Loopback,
        request: socket.socket,
        address: tuple[str, int],
        server: BaseServer,
    ) -> None:
        self._loopback = loopback
        super().__init__(request, address, server)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Tests own the terminal."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._loopback.requests.append(Received(self.command, self.path, headers, body))
        reply = self._loopback.reply(self.path)
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-encoding", reply.content_encoding)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)


def method_of(client: Sdk, name: str) -> Sdk:
    """A method of a client; skips the test if this release of the SDK has no such method."""
    try:
        return attrgetter(name)(client)
    except AttributeError:
        pytest.skip("this release of the SDK has no such method")
