"""A real Kafka broker of one node (KRaft), on free ports."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from typing_extensions import override

from collectors.processes import Program
from end_to_end.otlp import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_JARS: Final = Path(__file__).parents[2] / "build" / "kafka"

# One replica of everything: a broker alone would wait for two more.
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


class Broker(Program):
    """A broker whose data is in the test's folder."""

    def __init__(self, folder: Path) -> None:
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
        pytest.skip("no Kafka broker: `make broker` fetches it where Java and Maven are installed")
    return (java, "-Xmx384m", "-cp", f"{_JARS}/*", *words)
