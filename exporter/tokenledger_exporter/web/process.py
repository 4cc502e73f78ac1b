"""The dashboard in a process of its own, which another service starts, watches and ends.

A page of a large report takes the interpreter for a while; the service's requests do not wait for
it in a process of their own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
from contextlib import contextmanager, nullcontext
from multiprocessing import connection as pipes
from typing import TYPE_CHECKING, Final

import uvicorn

from tokenledger_exporter.log import warn
from tokenledger_exporter.web.app import create_app
from tokenledger_exporter.web.run import SETTINGS, address_of, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.process import BaseProcess

    from tokenledger_exporter.web.mounted import Mount
    from tokenledger_exporter.web.options import DashboardOptions

_STOP_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 60.0


@contextmanager
def dashboard_process(options: DashboardOptions, mounts: Sequence[Mount] = ()) -> Generator[str]:
    """The dashboard's address; the process ends with the block, and with this process.

    Args:
        options: what it shows and who may look.
        mounts: functions of modules that make further applications of the same service.

    Raises:
        InvalidRequestError: the address is in use, or a token's line is invalid.
    """
    # What is wrong with the options is an error here and not in a log.
    create_app(options, [mount(options) for mount in mounts])
    with listen(options) as listener:
        supervisor = _Supervisor(options, listener, mounts)
        supervisor.start()
        try:
            yield address_of(listener)
        finally:
            supervisor.stop()


class _Supervisor:
    """A thread that starts the process again if it ends."""

    def __init__(
        self, options: DashboardOptions, listener: socket.socket, mounts: Sequence[Mount]
    ) -> None:
        self._options: Final = options
        self._mounts: Final = tuple(mounts)
        self._listener: Final = listener
        self._stopping: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="tokenledger-dashboard")
        self._process: BaseProcess = self._started()

    def start(self) -> None:
        """Begin to watch the process."""
        self._thread.start()

    def stop(self) -> None:
        """End the process: it answers what it has begun, for a few seconds."""
        self._stopping.set()
        self._process.terminate()
        self._thread.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._process.join()
            if self._stopping.wait(pause):
                return
            warn("dashboard_ended", "the dashboard's process ended; it is started again")
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            self._process = self._started()
            if self._stopping.is_set():
                self._process.terminate()

    def _started(self) -> BaseProcess:
        # A forked process would share the connections and locks of this one.
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(self._options, self._listener, self._mounts), daemon=True
        )
        process.start()
        return process


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: this process decides itself when it ends."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _serve(options: DashboardOptions, listener: socket.socket, mounts: Sequence[Mount]) -> None:
    """Serve until the parent process asks for the end, or has ended itself."""
    app = create_app(options, [mount(options) for mount in mounts])
    server = _Server(uvicorn.Config(app, **SETTINGS))

    def end(*_args: object) -> None:
        server.should_exit = True

    # Ctrl-C reaches every process of a terminal: the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel, end), daemon=True).start()
    asyncio.run(server.serve(sockets=[listener]))


def _watch(sentinel: int, end: Callable[[], None]) -> None:
    pipes.wait([sentinel])
    end()
