"""Ports for programs that have to be told theirs."""

from __future__ import annotations

import random
import socket
from typing import Final

# Connections get theirs from 32,768 on (Linux; macOS and Windows: 49,152): a port from there may be
# taken between being found free and being listened on.
_PORTS: Final = range(10_240, 32_768)
_dice: Final = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens on at the moment, and no connection is given."""
    while True:
        port = _dice.choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
