"""Tasks of one call each, on a queue of files: `python -m faults.celery_app send N | work`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tokenledger
from faults import apps

if TYPE_CHECKING:
    from faults.counts import CallCounter

_TASK: Final = "faults.call"
_TASKS_A_CHILD: Final = "20"
_counters: Final[dict[int, CallCounter]] = {}


def _queue() -> Any:  # noqa: ANN401 - celery has no types
    folder = Path(os.environ["FAULTS_QUEUE"])
    folder.mkdir(exist_ok=True)
    app = importlib.import_module("celery").Celery(
        "faults", broker="filesystem://", set_as_current=False
    )
    app.conf.update(
        broker_transport_options={
            "data_folder_in": str(folder),
            "data_folder_out": str(folder),
            "control_folder": str(folder / "control"),
        },
        task_ignore_result=True,
        worker_hijack_root_logger=False,
    )
    return app


def _call() -> None:
    """One call, counted by a counter of this child."""
    counting = _counters.get(os.getpid()) or _counters.setdefault(os.getpid(), apps.counter())
    apps.make_calls(1, counting=counting)


def main() -> None:
    """Put tasks into the queue, or work on them with children that end after a few."""
    what, *arguments = sys.argv[1:]
    app = _queue()
    if what == "send":
        for _ in range(int(arguments[0])):
            app.send_task(_TASK)
        return
    # Before the children are forked, as an app does it when it is imported.
    tokenledger.configure()
    app.task(name=_TASK)(_call)
    app.worker_main(
        [
            *("worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "ERROR"),
            *("--max-tasks-per-child", _TASKS_A_CHILD, "--without-gossip", "--without-mingle"),
        ]
    )


if __name__ == "__main__":
    main()
