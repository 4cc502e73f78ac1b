"""Servers that start and end their own workers: gunicorn, uvicorn, Celery."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from faults.registry import SkippedError, case
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.world import World

_MOST: Final = 300
"""Requests a case makes: each is a whole exchange with a server."""


@case("gunicorn TERM")
def gunicorn_term(world: World) -> None:
    with _gunicorn(world) as (master, port):
        _ask(port, min(world.calls, _MOST))
        master.terminate()
        master.wait(timeout=30)


@case("gunicorn --max-requests 20")
def gunicorn_recycled(world: World) -> None:
    with _gunicorn(world, "--max-requests", "20", "--preload") as (master, port):
        _ask(port, min(world.calls, _MOST))
        master.terminate()
        master.wait(timeout=30)


@case("gunicorn worker kill -9")
def gunicorn_killed(world: World) -> None:
    with _gunicorn(world) as (master, port):
        for _ in range(3):
            _ask(port, min(world.calls, _MOST) // 3)
            found = subprocess.run(
                ["pgrep", "-P", str(master.pid)], capture_output=True, text=True, check=True
            )
            for pid in found.stdout.split():
                subprocess.run(["kill", "-9", pid], check=False)


@case("uvicorn --reload")
def uvicorn_reloaded(world: World) -> None:
    source = world.folder / "source" / "edited.py"
    source.parent.mkdir()
    source.touch()
    options = ("--interface", "wsgi", "--reload", "--reload-dir", str(source.parent))
    with _server(world, "uvicorn", *options) as (_, port):
        for number in range(3):
            _ask(port, min(world.calls, _MOST) // 3)
            before = _worker(port)
            # It looks at the time of the last change, and at whole seconds on some disks.
            later = time.time() + 10 * (number + 1)
            os.utime(source, (later, later))
            world.until(partial(_is_another, port, before), "it reloads")


@case("Celery recycling its children")
def celery_recycled(world: World) -> None:
    if find_spec("celery") is None:
        raise SkippedError("celery is not installed")
    environment = world.environment() | {"FAULTS_QUEUE": str(world.folder / "queue")}
    celery = (sys.executable, "-W", "ignore", "-m", "faults.celery_app")
    tasks = min(world.calls, _MOST // 3)
    subprocess.run((*celery, "send", str(tasks)), env=environment, check=True)
    worker = subprocess.Popen((*celery, "work"), env=environment)
    try:
        world.until(lambda: world.made() >= tasks, "every task has run")
    finally:
        worker.terminate()
        worker.wait(timeout=30)


@contextmanager
def _gunicorn(world: World, *options: str) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    with _server(world, "gunicorn", "--workers", "2", *options) as running:
        yield running


@contextmanager
def _server(
    world: World, program: str, *options: str
) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    if find_spec(program) is None:
        raise SkippedError(f"{program} is not installed")
    port = free_port()
    address = {
        "gunicorn": ("--bind", f"127.0.0.1:{port}"),
        "uvicorn": ("--host", "127.0.0.1", "--port", str(port)),
    }[program]
    command = [sys.executable, "-W", "ignore", "-m", program, *options, *address]
    command += ["--log-level", "error", "faults.web:application"]
    master = subprocess.Popen(command, env=world.environment())
    try:
        world.until(lambda: _answers(port), f"{program} answers")
        yield master, port
    finally:
        master.terminate()
        master.wait(timeout=30)


def _is_another(port: int, worker: str) -> bool:
    """Whether another process answers than before."""
    try:
        return _worker(port) != worker
    except OSError:
        return False


def _worker(port: int) -> str:
    """The process that answers; it makes a call, as every request does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        answer_text: str = answer.read().decode()
    return answer_text


def _answers(port: int) -> bool:
    try:
        _ask(port, 1)
    except OSError:
        return False
    return True


def _ask(port: int, times: int) -> None:
    done = 0
    deadline = time.monotonic() + 60
    while done < times:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                answer.read()
            done += 1
        except OSError:
            # A worker that is being recycled drops its connection; the call was counted if made.
            if times == 1 or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
