"""The real Collector with a configuration of `collector-config/`, and the service behind it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from typing_extensions import override

from collectors.processes import Program, is_ok
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIGURATIONS: Final = Path(__file__).parents[2] / "collector-config"
"""The folder of the pipelines."""


def binary() -> str:
    """The path of the Collector's program; skips the test if there is none."""
    built = CONFIGURATIONS / "build" / "otelcol"
    path = str(built) if built.exists() else shutil.which("otelcol")
    return path or pytest.skip("no Collector; `make collector` builds it (requires Go)")


class Collector(Program):
    """A Collector on free ports.

    Args:
        name: name of the configuration.
        folder: folder for its log and its queue.
        environment: variables of its configuration.
        options: additional command-line options.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        options: Sequence[str] = (),
    ) -> None:
        self.endpoint: Final = f"http://127.0.0.1:{free_port()}"
        self.grpc_endpoint: Final = f"http://127.0.0.1:{free_port()}"
        self._health: Final = f"127.0.0.1:{free_port()}"
        ports = {
            "OTLP_HTTP_ENDPOINT": self.endpoint.removeprefix("http://"),
            "OTLP_GRPC_ENDPOINT": self.grpc_endpoint.removeprefix("http://"),
            "HEALTH_ENDPOINT": self._health,
            "QUEUE_DIRECTORY": str(folder / "queue"),
        }
        command = (binary(), "--config", str(CONFIGURATIONS / f"{name}.yaml"), *options)
        super().__init__(command, folder / f"{name}.log", {**ports, **environment})

    @override
    def ready(self) -> bool:
        return is_ok(f"http://{self._health}")


class Service(Program):
    """`tokenledger serve` on a free port."""

    def __init__(self, database_url: str, folder: Path) -> None:
        port = free_port()
        self.endpoint: Final = f"http://127.0.0.1:{port}"
        command = (
            str(Path(sys.executable).parent / "tokenledger"),
            *("serve", "--port", str(port), "--grpc-port", "0"),
        )
        super().__init__(command, folder / "serve.log", {"TOKENLEDGER_DATABASE_URL": database_url})

    @override
    def ready(self) -> bool:
        return is_ok(f"{self.endpoint}/ready")
