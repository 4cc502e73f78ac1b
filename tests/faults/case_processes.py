"""How processes end: killed, crashed, asked to leave, forked."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from faults.proxy import Fault
from faults.registry import case
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.demo.scripts import Stall

if TYPE_CHECKING:
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
    # While calls are made there is always something to commit.
    world.until(lambda: world.made() >= world.calls // 4, "calls are made")
    world.proxy.become(Fault.CUT_AFTER_COMMIT)
    world.expect(child, "made")
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
        options: dict[str, Any] = {"base_url": provider.openai_base_url, "calls": calls}
        world.run("openai_calls", ending="kill", **options)


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


@case("SIGSTOP, SIGCONT, SIGKILL")
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


@case("asyncio cancel during a stream")
def cancel_stream(world: World) -> None:
    _cancel(world, stream=True)


def _cancel(world: World, *, stream: bool) -> None:
    calls = min(world.calls, 500) if world.whole else 5
    with DemoProvider() as provider:
        options: dict[str, Any] = {
            "base_url": provider.openai_base_url,
            "calls": calls,
            "stream": stream,
        }
        child = world.start("cancelled_calls", **options)
        assert child.stdin is not None
        # All are scripted before the first is asked for: the next call comes as soon as one ends.
        stalls = [Stall(after_events=2 if stream else None) for _ in range(calls)]
        for stall in stalls:
            provider.script(stall)
        for stall in stalls:
            assert stall.reached.wait(30)
            child.stdin.write("\n")
            child.stdin.flush()
            world.expect(child, "cancelled")
            stall.release()
        world.end(child)
