"""Real tracing UIs that receive the same spans as the ledger: Phoenix and Jaeger."""

from __future__ import annotations

import json
import shutil
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import pytest
from typing_extensions import override

from collectors.processes import Program, is_ok
from collectors.senders import SERVICE
from support.ports import free_port

_ROOT: Final = Path(__file__).parents[2]


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a local address
        content: dict[str, Any] = json.loads(answer.read())
    return content


class TracingUi(Program, ABC):
    """A program that shows spans and accepts OTLP/HTTP at `endpoint`."""

    endpoint: str

    @abstractmethod
    def span_ids(self) -> set[str]:
        """The ids of the spans it shows."""


class Phoenix(TracingUi):
    """Arize Phoenix with its data in the test's folder."""

    def __init__(self, folder: Path) -> None:
        python = _ROOT / ".venv-phoenix" / "bin" / "python"
        if not python.exists():
            pytest.skip("no Phoenix; `make phoenix` installs it (requires Python 3.11)")
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        environment = {
            "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        command = (str(python), "-m", "phoenix.server.main", "serve")
        super().__init__(command, folder / "phoenix.log", environment)

    @override
    def ready(self) -> bool:
        return is_ok(f"{self.endpoint}/healthz")

    @override
    def span_ids(self) -> set[str]:
        content = _get(f"{self.endpoint}/v1/projects/default/spans?limit=100")
        return {span["context"]["span_id"] for span in content["data"]}


class Jaeger(TracingUi):
    """Jaeger with its data in memory."""

    def __init__(self, folder: Path) -> None:
        built = _ROOT / "build" / "jaeger" / "jaeger"
        program = str(built) if built.exists() else shutil.which("jaeger")
        if program is None:
            pytest.skip("no Jaeger; `make jaeger` builds it (requires Go)")
        http, self._query, health = (free_port() for _ in range(3))
        self.endpoint = f"http://127.0.0.1:{http}"
        self._health: Final = f"http://127.0.0.1:{health}/status"
        config = folder / "jaeger.yaml"
        config.write_text(
            json.dumps(_jaeger(http, self._query, free_port(), health)), encoding="utf-8"
        )
        super().__init__((program, "--config", str(config)), folder / "jaeger.log")

    @override
    def ready(self) -> bool:
        return is_ok(self._health)

    @override
    def span_ids(self) -> set[str]:
        content = _get(f"http://127.0.0.1:{self._query}/api/traces?service={SERVICE}&limit=100")
        return {span["spanID"] for trace in content["data"] for span in trace["spans"]}


def _jaeger(http: int, query: int, query_grpc: int, health: int) -> dict[str, Any]:
    """Jaeger's configuration as JSON, which is valid YAML."""

    def at(port: int) -> dict[str, str]:
        return {"endpoint": f"127.0.0.1:{port}"}

    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "healthcheckv2": {"use_v2": True, "http": at(health)},
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1_000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": at(query),
                "grpc": at(query_grpc),
            },
        },
        "receivers": {"otlp": {"protocols": {"http": at(http)}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
