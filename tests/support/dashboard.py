"""The dashboard on a free port of this machine, and requests to it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from support.ports import free_port
from tokenledger_exporter.web.app import create_app

if TYPE_CHECKING:
    from typing_extensions import Self

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

    def __init__(self, options: DashboardOptions) -> None:
        self.port: Final = free_port()
        config = uvicorn.Config(create_app(options), port=self.port, log_level="critical")
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
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
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
