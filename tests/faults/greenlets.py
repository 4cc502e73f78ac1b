"""An app on gevent that starts processes: `python -m gevent.monkey --module faults.greenlets JSON`.

A greenlet that runs in a child process is noted in a file. A child that forks again ends at once,
so that a fork bomb is seen and does not go off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gevent
import gevent.monkey
import gevent.pool
import openai

import tokenledger
from faults.counts import CallCounter

if TYPE_CHECKING:
    from collections.abc import Callable

APP: Final = os.getpid()
AGAIN: Final = 9
"""Exit status of a child that forked."""


def note_strays(file: Path) -> Callable[[], None]:
    """What a greenlet calls to say that it runs; notes where that is not the app."""
    strays = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note() -> None:
        if os.getpid() != APP:
            os.write(strays, b"a greenlet ran in a child\n")

    def end_if_forked_again() -> None:
        if os.getppid() != APP:
            os.write(strays, b"a child forked\n")
            os._exit(AGAIN)

    os.register_at_fork(after_in_child=end_if_forked_again)
    return note


def call(client: openai.OpenAI) -> None:
    """One call, counted."""
    counting = CallCounter(Path(os.environ["FAULTS_COUNTS"]))
    user = counting.next_call()
    counting.opened()
    client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], user=user
    )
    counting.made()


def main(options: dict[str, Any]) -> None:
    """Make calls in many greenlets at once, the first ones of the SDK, while processes start."""
    note = note_strays(Path(options["strays"]))
    tokenledger.configure()
    tokenledger.patch_openai()
    if options.get("patch_late"):
        gevent.monkey.patch_all()
    client = openai.OpenAI(api_key="test", base_url=options["base_url"], max_retries=0)

    def noted_call() -> None:
        note()
        call(client)

    def start_process() -> None:
        note()
        subprocess.run(["true"], check=True)
        if os.fork() == 0:
            os._exit(0)

    pool = gevent.pool.Pool(50)
    for number in range(options["calls"]):
        pool.spawn(noted_call)
        if number % 10 == 0:
            pool.spawn(start_process)
    pool.join(raise_error=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
