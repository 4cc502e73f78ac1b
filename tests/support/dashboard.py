"""The dashboard on a free port of this machine, and requests to it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import uvicorn

from support.ports import free_port
from tokenledger_exporter.web.app import create_app
from tokenledger_exporter.web.run import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from tokenledger_exporter.web.mounted import MountedApp
    from tokenledger_exporter.web.options import DashboardOptions


@dataclass(frozen=True)
class Response:
    """An answer: its status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - a document
        return json.loads(self.body)


class Dashboard:
    """The application of one ledger, served by uvicorn in a thread while a `with` block runs."""

    def __init__(self, options: DashboardOptions, mounted: Sequence[MountedApp] = ()) -> None:
        self.port: Final = free_port()
        config = uvicorn.Config(create_app(options, mounted), port=self.port, **SETTINGS)
        self._server: Final = uvicorn.Server(config)
        self._thread: Final = threading.Thread(target=self._server.run)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the dashboard did not start"
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Response:
        """Send one request; `_` in the name of a header is a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(path, method, list(named.items()))

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Response:
        """Send a form as a page of the dashboard does; a header of "" is left out."""
        named = {
            "host": f"127.0.0.1:{self.port}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        pairs = [(name, value) for name, value in named.items() if value]
        return self.send(path, "POST", pairs, body=urlencode(fields).encode())

    def send(
        self,
        path: str,
        method: str,
        headers: Sequence[tuple[str, str]],
        *,
        body: bytes = b"",
        address: str = "127.0.0.1",
    ) -> Response:
        """Send one request from an address of this machine; a header may be repeated."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=(address, 0))
        try:
            has_host = any(name.lower() == "host" for name, _ in headers)
            connection.putrequest(method, path, skip_host=has_host)
            for name, value in headers:
                connection.putheader(name, value.encode())
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, fields, answer.read())
        finally:
            connection.close()

    def json(self, path: str) -> Any:  # noqa: ANN401 - a document
        """The document of a path below the API."""
        response = self.get(f"/api/v1{path}")
        assert response.status == 200, response.body
        return response.json()
