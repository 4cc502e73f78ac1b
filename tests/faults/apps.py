"""The programs the rig breaks: `python -m faults.apps NAME JSON`. Each says `ready`, then works."""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import tokenledger
from faults.counts import CallCounter
from tokenledger_exporter.db import answer_timeout
from tokenledger_exporter.recorder.ledger import installed_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry import trace
    from opentelemetry.trace import Tracer

MODEL: Final = "gpt-4o"
USED: Final = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 100}


def counter() -> CallCounter:
    """A counter of this thread's own."""
    return CallCounter(Path(os.environ["FAULTS_COUNTS"]))


def ledger_tracer() -> Tracer:
    """What records calls of this process in its ledger."""
    ledger = installed_ledger()
    assert ledger is not None
    return ledger.tracer_provider.get_tracer("tokenledger.openai")


def start_call(tracer: Tracer, user: str, start_ns: int | None = None) -> trace.Span:
    """Send a call."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "user.id": user,
    }
    return tracer.start_span(
        "chat", kind=SpanKind.CLIENT, attributes=attributes, start_time=start_ns
    )


def make_calls(number: int, per_second: float = 0.0, counting: CallCounter | None = None) -> None:
    """Make calls, each counted when it is sent and when it has ended."""
    counting = counting or counter()
    tracer = ledger_tracer()
    begun = time.monotonic()
    for made in range(number):
        span = start_call(tracer, counting.next_call())
        counting.opened()
        span.set_attributes(USED)
        span.end()
        counting.made()
        ahead = begun + (made + 1) / per_second - time.monotonic() if per_second else 0.0
        if ahead > 0:
            time.sleep(ahead)


def leave_open(number: int) -> list[trace.Span]:
    """Send calls that never end here, each of a counter of its own."""
    spans: list[trace.Span] = []
    for _ in range(number):
        counting = counter()
        spans.append(start_call(ledger_tracer(), counting.next_call()))
        counting.opened()
    return spans


def crowd(options: dict[str, Any]) -> None:
    """Calls that are all open at once, 1 KB of attribution each; the first half of them ends."""
    counting = counter()
    tracer = ledger_tracer()
    note = {f"tokenledger.metadata.note_{number}": "n" * 250 for number in range(4)}
    kept: list[trace.Span] = []
    for _ in range(options["calls"]):
        span = start_call(tracer, counting.next_call())
        span.set_attributes(note)
        counting.opened()
        kept.append(span)
        # Rounds of the drainer fall into every stage of the crowd.
        if not len(kept) % 500:
            tokenledger.flush(timeout=10.0)
    for number, span in enumerate(kept[: options["calls"] // 2]):
        span.set_attributes(USED)
        span.end()
        counting.made()
        if not number % 500:
            tokenledger.flush(timeout=10.0)
    say("made")
    end(options["ending"])


def say(word: str) -> None:
    """Tell the rig."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def spans(options: dict[str, Any]) -> None:
    """Make calls, leave some open, and end as `ending` says."""
    kept = leave_open(options.get("open", 0))
    make_calls(options["calls"], options.get("per_second", 0.0))
    if options.get("flush"):
        tokenledger.flush(timeout=options["flush"])
    say("made")
    end(options.get("ending", "exit"))
    del kept


def end(ending: str) -> None:
    """End this process."""
    if ending == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "crash":
        ctypes.string_at(0)
    if ending == "os_exit":
        os._exit(0)
    if ending == "wait":
        sys.stdin.read()


def until_killed(options: dict[str, Any]) -> None:
    """Make calls from several threads until this process is ended."""
    for _ in range(options.get("threads", 4)):
        threading.Thread(target=make_calls, args=[1_000_000, 500.0], daemon=True).start()
    if options.get("exit_after"):
        time.sleep(options["exit_after"])
        return
    threading.Event().wait()


def child_process(number: int) -> None:
    """What a child of `processes` does."""
    make_calls(number)


def processes(options: dict[str, Any]) -> None:
    """Make calls in children, which end by `os._exit`, as multiprocessing's do."""
    each = options["calls"] // 4
    kind = options["kind"]
    if kind == "pool":
        with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
            list(pool.map(child_process, [each] * 4))
        return
    if kind == "full_queue":
        # Nothing is written before the fork, so every child is born with its parent's backlog.
        make_calls(each)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=child_process, args=[each]) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def openai_calls(options: dict[str, Any]) -> None:
    """Calls through the real SDK."""
    import openai  # noqa: PLC0415 - a second to load, which other apps need not wait for

    tokenledger.patch_openai()
    client = openai.OpenAI(api_key="test", base_url=options["base_url"], max_retries=0)
    counting = counter()
    for _ in range(options["calls"]):
        user = counting.next_call()
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], user=user
        )
        assert answer.choices[0].message.content
        counting.opened()
        counting.made()
    say("made")
    end(options["ending"])


def cancelled_calls(options: dict[str, Any]) -> None:
    """Tasks cancelled while the provider works, before the answer or in the middle of a stream."""
    import openai  # noqa: PLC0415 - as above

    tokenledger.patch_openai()

    async def one(client: openai.AsyncOpenAI, counting: CallCounter, *, stream: bool) -> None:
        messages: Any = [{"role": "user", "content": "hi"}]
        request = client.chat.completions.create
        user = counting.next_call()
        counting.opened()
        answer: Any = await request(model=MODEL, messages=messages, user=user, stream=stream)
        async for _ in answer:
            pass

    async def run() -> None:
        client = openai.AsyncOpenAI(api_key="test", base_url=options["base_url"], max_retries=0)
        for _ in range(options["calls"]):
            task = asyncio.ensure_future(one(client, counter(), stream=options["stream"]))
            # The rig says when the provider has the request in hand.
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                say("cancelled")
        await client.close()

    asyncio.run(run())


def seeded(options: dict[str, Any]) -> None:
    """An app that seeds `random`, on its own provider with the SDK's own ids."""
    provider = TracerProvider()
    ledger = installed_ledger()
    assert ledger is not None
    ledger.attach(provider)
    tracer = provider.get_tracer("tokenledger.openai")
    random.seed(42)
    counting = counter()
    for _ in range(options["calls"]):
        span = start_call(tracer, counting.next_call())
        counting.opened()
        span.set_attributes(USED)
        span.end()
        counting.made()


def backwards(options: dict[str, Any]) -> None:
    """A clock that is set back by an hour between a call's start and its end, and between calls."""
    tracer = ledger_tracer()
    counting = counter()
    now = time.time_ns()
    for number in range(options["calls"]):
        begun = now - number * 3_600_000_000_000 // max(1, options["calls"])
        span = start_call(tracer, counting.next_call(), begun)
        counting.opened()
        span.set_attributes(USED)
        span.end(begun - 3_600_000_000_000)
        counting.made()


def poisoned(options: dict[str, Any]) -> None:
    """Among every ten calls two that Postgres does not take as they are."""
    tracer = ledger_tracer()
    counting = counter()
    for number in range(options["calls"]):
        span = start_call(tracer, counting.next_call())
        counting.opened()
        if number % 5 == 0:
            span.set_attribute("tokenledger.metadata.poison", "a\x00b\\u0000")
            span.set_attribute("gen_ai.response.model", MODEL)
            span.set_attribute("gen_ai.response.id", "\x00")
        span.set_attributes(USED)
        span.end()
        counting.made()
        if number % 10 == 0:
            # Seven centuries ahead: no partition, so the row is quarantined with its reason.
            start_call(tracer, "poison", 2**63 - 2).end(2**63 - 1)


def replay(options: dict[str, Any]) -> None:
    """Hand in records that others hand in too."""
    ledger = installed_ledger()
    assert ledger is not None
    for line in Path(options["records"]).read_text(encoding="ascii").split():
        ledger.append(bytes.fromhex(line))


APPS: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "spans": spans,
    "crowd": crowd,
    "until_killed": until_killed,
    "processes": processes,
    "openai_calls": openai_calls,
    "cancelled_calls": cancelled_calls,
    "seeded": seeded,
    "backwards": backwards,
    "poisoned": poisoned,
    "replay": replay,
}


def main() -> None:
    """Run one program."""
    options = json.loads(sys.argv[2])
    if seconds := options.get("answer_seconds"):
        setattr(answer_timeout, "ANSWER_SECONDS", float(seconds))  # noqa: B010 - a constant, elsewhere
    tokenledger.configure()
    say("ready")
    APPS[sys.argv[1]](options)


if __name__ == "__main__":
    main()
