"""Kafka on free ports: a real broker with one node (KRaft), and librdkafka's mock cluster."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from confluent_kafka.admin import AdminClient
from typing_extensions import override

from collectors.processes import Program
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_JARS: Final = Path(__file__).parents[2] / "build" / "kafka"

# One replica of everything, as a single broker would wait for two more.
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={controller}
log.dirs={data}
num.partitions=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
group.initial.rebalance.delay.ms=0
"""


# The mock cannot answer the first request of newer clients (librdkafka 2.16.1, run 2026-11-26).
_PROTOCOL_VERSION: Final = "2.1.0"
# The shortest timeout it allows, so that a killed consumer's partitions are soon reassigned.
_SESSION_TIMEOUT: Final = "6s"


class MockCluster:
    """Three mock brokers of librdkafka in this process; they store nothing on disk."""

    def __init__(self, _folder: Path) -> None:
        self.options: Final = (
            f"--set=exporters::kafka::protocol_version={_PROTOCOL_VERSION}",
            f"--set=receivers::kafka::protocol_version={_PROTOCOL_VERSION}",
            f"--set=receivers::kafka::session_timeout={_SESSION_TIMEOUT}",
        )
        self.address = ""
        self._client: AdminClient | None = None

    def start(self) -> None:
        """Start the brokers."""
        self._client = AdminClient({"test.mock.num.brokers": 3, "log_level": 4})
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self) -> None:
        """Stop the brokers."""
        self._client = None


class Broker(Program):
    """A broker with its data in the test's folder."""

    def __init__(self, folder: Path) -> None:
        self.options: Final = ()
        self.address: Final = f"127.0.0.1:{free_port()}"
        properties = folder / "kafka.properties"
        properties.write_text(
            _PROPERTIES.format(
                broker=self.address,
                controller=f"127.0.0.1:{free_port()}",
                data=folder / "kafka-data",
            ),
            encoding="utf-8",
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        storage = ("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster)
        subprocess.run(_java(*storage, "-c", str(properties)), check=True, capture_output=True)
        super().__init__(_java("kafka.Kafka", str(properties)), folder / "kafka.log")

    @override
    def ready(self) -> bool:
        host, _, port = self.address.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True


def _java(*words: str) -> Sequence[str]:
    java = shutil.which("java")
    if java is None or not _JARS.is_dir():
        pytest.skip("no Kafka broker; `make broker` downloads it (requires Java and Maven)")
    return (java, "-Xmx384m", "-cp", f"{_JARS}/*", *words)
