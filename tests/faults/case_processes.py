"""How processes end: killed, crashed, asked to leave, forked, recycled."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from faults.proxy import Fault
from faults.registry import SkippedError, case
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.demo.scripts import Stall

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.world import World


@case("kill -9, database up")
def kill_up(world: World) -> None:
    child = world.start("until_killed")
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.kill()


@case("kill -9, database down")
def kill_down(world: World) -> None:
    world.proxy.prove(Fault.REFUSE)
    world.proxy.become(Fault.REFUSE)
    child = world.start("until_killed")
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.kill()
    world.end(child)
    world.proxy.become(Fault.NONE)


@case("kill -9 between COMMIT and deleting the segment")
def kill_after_commit(world: World) -> None:
    """The answer to COMMIT never arrives, so the rows are stored and the segment is not deleted."""
    world.proxy.prove(Fault.CUT_AFTER_COMMIT)
    child = world.start("spans", calls=world.calls, ending="wait", open=2)
    world.expect(child, "made")
    world.proxy.become(Fault.CUT_AFTER_COMMIT)
    world.until(lambda: world.proxy.times_cut > 0, "a commit is cut")
    child.kill()
    world.end(child)
    world.proxy.become(Fault.NONE)


@case("kill -9 of calls in flight")
def kill_in_flight(world: World) -> None:
    world.run("spans", calls=world.calls, open=10, ending="kill")


@case("kill -9 of real SDK calls")
def kill_sdk(world: World) -> None:
    with DemoProvider() as provider:
        calls = min(world.calls, 500)
        told: dict[str, Any] = {"base_url": provider.openai_base_url, "calls": calls}
        world.run("openai_calls", ending="kill", **told)


@case("SIGTERM, default handler")
def terminate(world: World) -> None:
    child = world.start("until_killed")
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.terminate()


@case("SIGTERM, database down")
def terminate_down(world: World) -> None:
    world.proxy.prove(Fault.REFUSE)
    world.proxy.become(Fault.REFUSE)
    child = world.start("until_killed")
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.terminate()
    world.end(child)
    world.proxy.become(Fault.NONE)


@case("exit with a dead database")
def exit_down(world: World) -> None:
    for fault in (Fault.REFUSE, Fault.HANG, Fault.BLACKHOLE):
        world.proxy.prove(fault)
        world.proxy.become(fault)
        child = world.start("spans", calls=world.calls // 3, ending="wait")
        world.expect(child, "made")
        begun = time.monotonic()
        world.end(child)
        took = time.monotonic() - begun
        world.notes.append(f"{fault.value}: {took:.1f} s")
        # Two seconds of ours; the rest is the interpreter's own end.
        assert took < 2.4, f"exit took {took:.1f} s with a database that would {fault.value}"
        world.proxy.become(Fault.NONE)


@case("frozen, thawed and killed")
def frozen(world: World) -> None:
    """As a suspended laptop or container: its connections are gone when it goes on."""
    child = world.start("until_killed")
    world.until(lambda: world.made() >= world.calls // 2, "half the calls are made")
    child.send_signal(signal.SIGSTOP)
    world.proxy.cut()
    time.sleep(0.5)
    child.send_signal(signal.SIGCONT)
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.kill()


@case("os._exit")
def os_exit(world: World) -> None:
    world.run("spans", calls=world.calls, ending="os_exit")


@case("SIGSEGV")
def crash(world: World) -> None:
    assert world.run("spans", calls=world.calls, ending="crash") == -signal.SIGSEGV


@case("multiprocessing children")
def children(world: World) -> None:
    assert world.run("processes", calls=world.calls, kind="process") == 0


@case("ProcessPoolExecutor")
def pool(world: World) -> None:
    assert world.run("processes", calls=world.calls, kind="pool") == 0


@case("fork with a full queue")
def full_queue(world: World) -> None:
    slow = {"TOKENLEDGER_BATCH_SIZE": "100000", "TOKENLEDGER_FLUSH_INTERVAL_SECONDS": "60"}
    assert world.run("processes", slow, calls=world.calls, kind="full_queue") == 0


@case("daemon threads at exit")
def daemon_threads(world: World) -> None:
    assert world.run("until_killed", exit_after=0.5) == 0


@case("asyncio cancel in the call")
def cancel_call(world: World) -> None:
    _cancel(world, stream=False)


@case("asyncio cancel in mid-stream")
def cancel_stream(world: World) -> None:
    _cancel(world, stream=True)


def _cancel(world: World, *, stream: bool) -> None:
    with DemoProvider() as provider:
        told: dict[str, Any] = {"base_url": provider.openai_base_url, "calls": 5, "stream": stream}
        child = world.start("cancelled_calls", **told)
        assert child.stdin is not None
        for _ in range(5):
            stall = Stall(after_events=2 if stream else None)
            provider.script(stall)
            assert stall.reached.wait(30)
            child.stdin.write("\n")
            child.stdin.flush()
            world.expect(child, "cancelled")
            stall.release()
        world.end(child)


@case("gunicorn TERM")
def gunicorn_term(world: World) -> None:
    with _gunicorn(world) as (master, port):
        _ask(port, min(world.calls, 300))
        master.terminate()
        master.wait(timeout=30)


@case("gunicorn --max-requests 20")
def gunicorn_recycled(world: World) -> None:
    with _gunicorn(world, "--max-requests", "20", "--preload") as (master, port):
        _ask(port, min(world.calls, 300))
        master.terminate()
        master.wait(timeout=30)


@case("gunicorn worker kill -9")
def gunicorn_killed(world: World) -> None:
    with _gunicorn(world) as (master, port):
        for _ in range(3):
            _ask(port, min(world.calls, 300) // 3)
            found = subprocess.run(
                ["pgrep", "-P", str(master.pid)], capture_output=True, text=True, check=True
            )
            for pid in found.stdout.split():
                subprocess.run(["kill", "-9", pid], check=False)


@contextmanager
def _gunicorn(world: World, *options: str) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    if find_spec("gunicorn") is None:
        raise SkippedError("gunicorn is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--workers", "2", *options]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "error", "faults.web:application"]
    master = subprocess.Popen(command, env=world.environment())
    try:
        world.until(lambda: _answers(port), "gunicorn answers")
        yield master, port
    finally:
        master.terminate()
        master.wait(timeout=30)


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
