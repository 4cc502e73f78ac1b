"""A fake of OpenAI's and Anthropic's HTTP APIs on loopback, exact down to the events of a stream.

For the demo and the tests: real SDKs point their base URL at it. Counts come from the request, from
an `x-demo-usage` header, or from `DemoProvider.script`; an `x-demo-status` header refuses a call.
It returns canned text, checks no API key, and supports only the generation endpoints.
"""

from __future__ import annotations

import collections
import contextlib
import json
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import override

from tokenledger_exporter.demo import answers, refusals
from tokenledger_exporter.demo.counts import PromptCache
from tokenledger_exporter.demo.scripts import (
    Cut,
    FailStream,
    Recorded,
    Refuse,
    Stall,
    Use,
)
from tokenledger_exporter.demo.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from socketserver import BaseServer
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from tokenledger_exporter.demo.scripts import (
        Script,
    )
    from tokenledger_exporter.demo.wire import Event, JsonObject

_POLL_SECONDS: Final = 0.02
_STREAM_SHARE: Final = 10


@dataclass(frozen=True, slots=True)
class Request:
    """One request the provider got; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: JsonObject | None


class DemoProvider:
    """The provider as a context manager: serves from a thread while the block runs.

    Args:
        latency_seconds: how long a call takes, and ten times as long as one event of a stream.
    """

    def __init__(self, latency_seconds: float = 0.0) -> None:
        self.requests: Final[list[Request]] = []
        self.latency_seconds: Final = latency_seconds
        self.cache: Final = PromptCache()
        self._scripts: Final[collections.deque[Script]] = collections.deque()
        self._stalls: Final[list[Stall]] = []
        self._server: Final = _Server(self)
        self._thread: Final = threading.Thread(
            target=self._server.serve_forever, args=[_POLL_SECONDS], name="demo-provider"
        )

    @property
    def url(self) -> str:
        """Where the provider listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_base_url(self) -> str:
        """What `OPENAI_BASE_URL` takes."""
        return f"{self.url}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """What `ANTHROPIC_BASE_URL` takes."""
        return self.url

    def script(self, *scripts: Script) -> None:
        """Queue what the next requests get, one each, instead of an ordinary answer."""
        self._scripts.extend(scripts)

    def next_script(self) -> Script | None:
        """Take the next queued script."""
        try:
            taken = self._scripts.popleft()
        except IndexError:
            return None
        if isinstance(taken, Stall):
            self._stalls.append(taken)
        return taken

    def start(self) -> None:
        """Serve from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, close every connection and release stalled answers, in this order.

        An answer that is released first could still be sent.
        """
        self._server.shutdown()
        self._thread.join()
        self._server.disconnect()
        for stall in self._stalls:
            stall.release()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    """Knows its open connections, so that idle keep-alive ones end when the server does."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, provider: DemoProvider) -> None:
        self._connections: Final[set[socket.socket]] = set()
        self._lock: Final = threading.Lock()
        super().__init__(("127.0.0.1", 0), partial(_Handler, provider))

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def disconnect(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; anything else is a fault of this file."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request, finds its answer, writes it."""

    protocol_version = "HTTP/1.1"
    # Without it a small event waits for the client's delayed ACK, 40 ms each.
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(
        self,
        provider: DemoProvider,
        request: socket.socket,
        client_address: tuple[str, int],
        server: BaseServer,
    ) -> None:
        self._provider: Final = provider
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        """Answer a GET; both vendors' generating paths refuse it."""
        self._handle()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._handle()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: tests and the demo own the terminal."""

    def _handle(self) -> None:
        request = self._read()
        self._provider.requests.append(request)
        where = answers.route(request.path)
        time.sleep(self._provider.latency_seconds)
        # A recorded answer is sent on any path, also on those nothing is made up for.
        script = self._provider.next_script() if request.method == "POST" else None
        if isinstance(script, Cut) and script.after_events is None:
            self._cut()
            return
        if isinstance(script, Stall) and script.after_events is None:
            script.hold()
        vendor = where.vendor if where else _guessed_vendor(request.headers)
        answer = self._answer(request, where, script)
        headers = {**answers.vendor_headers(vendor), **answer.headers}
        if answer.events is None:
            self._send_json(answer, headers, cut=isinstance(script, Cut))
        else:
            self._send_events(answer, headers, script)

    def _read(self) -> Request:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body: JsonObject | None = None
        with contextlib.suppress(ValueError):
            parsed: object = json.loads(raw)
            body = cast("JsonObject", parsed) if isinstance(parsed, dict) else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, body)

    def _answer(
        self, request: Request, where: answers.Route | None, script: Script | None
    ) -> Answer:
        if isinstance(script, Recorded):
            events = None if script.events is None else tuple(script.events)
            return Answer(script.body, events, status=script.status)
        if where is None or request.method != "POST":
            vendor = where.vendor if where else _guessed_vendor(request.headers)
            return refusals.unknown_path(vendor, request.method, request.path)
        status = request.headers.get("x-demo-status")
        if isinstance(script, Refuse) or status:
            code = script.status if isinstance(script, Refuse) else int(status or 0)
            return refusals.refusal(where.vendor, code)
        body = request.body
        if body is None or "model" not in body:
            return refusals.refusal(where.vendor, 400)
        if isinstance(script, FailStream):
            return self._failing(where, body, script)
        header = json.dumps(script.usage) if isinstance(script, Use) else None
        header = header or request.headers.get("x-demo-usage")
        return answers.answer(where, body, header, self._provider.cache)

    def _failing(self, where: answers.Route, body: JsonObject, script: FailStream) -> Answer:
        whole = answers.answer(where, body, None, self._provider.cache)
        if whole.events is None:
            return refusals.refusal(where.vendor, 500)
        count = script.after_events
        failure = refusals.stream_failure(where.vendor, where.endpoint, count)
        return Answer(events=(*whole.events[:count], failure))

    def _send_json(self, answer: Answer, headers: Mapping[str, str], *, cut: bool) -> None:
        payload = json.dumps(answer.body).encode()
        self._send_head(answer.status, "application/json", headers)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2] if cut else payload)
        self.wfile.flush()
        if cut:
            self._cut()

    def _send_events(
        self, answer: Answer, headers: Mapping[str, str], script: Script | None
    ) -> None:
        self._send_head(answer.status, "text/event-stream; charset=utf-8", headers)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for count, event in enumerate(answer.events or ()):
            if isinstance(script, (Cut, Stall)) and script.after_events == count:
                self.wfile.flush()
                if isinstance(script, Cut):
                    self._cut()
                    return
                script.hold()
            self._send_chunk(b"".join(_lines(event)))
            time.sleep(self._provider.latency_seconds / _STREAM_SHARE)
        self._send_chunk(b"")

    def _send_head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _guessed_vendor(headers: Mapping[str, str]) -> str:
    return "anthropic" if "anthropic-version" in headers else "openai"


def _lines(event: Event) -> Iterator[bytes]:
    if event.name is not None:
        yield f"event: {event.name}\n".encode()
    text = event.data if isinstance(event.data, str) else json.dumps(event.data)
    yield f"data: {text}\n\n".encode()


def main() -> None:
    """Serve until standard input closes or SIGTERM comes; the first line printed is the URL."""
    signal.signal(signal.SIGTERM, _leave)
    with DemoProvider() as provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
