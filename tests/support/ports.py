"""Finds free ports for programs."""

from __future__ import annotations

import random
import socket
from typing import Final

# Connections use ports from 32,768 on (Linux; macOS and Windows: 49,152), so such a port may be
# taken before the program listens on it.
_PORTS: Final = range(10_240, 32_768)
_dice: Final = random.SystemRandom()


def free_port() -> int:
    """A port that is free and outside the range of connections."""
    while True:
        port = _dice.choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
