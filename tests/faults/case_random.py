"""A seeded schedule: any fault, any ending, in any order; the seed and the commit replay it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.proxy import Fault
from faults.registry import case

if TYPE_CHECKING:
    import subprocess

    from faults.world import World

_STEPS_WHOLE, _STEPS_SHORT = 60, 12


@case("seeded random schedule")
def schedule(world: World) -> None:
    """Processes come and go while the database breaks and mends."""
    living: list[subprocess.Popen[str]] = []
    steps: list[str] = []
    for _ in range(_STEPS_WHOLE if world.whole else _STEPS_SHORT):
        move = world.dice.choice(("start", "start", "kill", "terminate", "break", "break", "mend"))
        if move == "start" and len(living) < 4:
            living.append(
                world.start(
                    "until_killed",
                    {"TOKENLEDGER_BATCH_SIZE": str(world.dice.choice((1, 7, 100)))},
                    threads=world.dice.choice((1, 3)),
                    answer_seconds=0.5,
                )
            )
        elif move in {"kill", "terminate"} and living:
            child = living.pop(world.dice.randrange(len(living)))
            child.kill() if move == "kill" else child.terminate()
        elif move == "break":
            fault = world.dice.choice(list(Fault))
            world.proxy.become(fault)
            move = fault.value
        elif move == "mend":
            world.proxy.become(Fault.NONE)
            world.proxy.cut()
        steps.append(move)
        time.sleep(world.dice.random() * 0.3)
    if not living:
        living.append(world.start("until_killed"))
        time.sleep(0.2)
    world.notes.append(f"{len(steps)} steps")
