"""Programs that the tests start; each listens on free ports and is stopped with its test."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05


class Program:
    """One program that can be started, stopped, killed, and started again.

    Args:
        command: the command line.
        log: file for its output.
        environment: variables in addition to those of the tests.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command: Final = command
        self._log: Final = log
        self._environment: Final = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it accepts requests."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
            )
        wait_until(self._is_ready, f"{self._command[0]} starts; see {self._log}")

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def kill(self) -> None:
        """Kill it, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def ready(self) -> bool:
        """Whether it accepts requests."""
        raise NotImplementedError

    def _is_ready(self) -> bool:
        process = self._process
        assert process is not None
        assert process.poll() is None, self._log.read_text(errors="replace")[-2_000:]
        return self.ready()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
    """Wait for a condition in another program, which cannot notify us."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout after {seconds:.0f} s: {what}"
        time.sleep(_PAUSE_SECONDS)


def is_ok(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - a local address
            status: int = answer.status
    except OSError:
        return False
    return status == HTTPStatus.OK
