"""`make faults [SEED=...] [CASES=...]`: the long form, and its table."""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys

from faults.registry import CASES, WHOLE_ONLY
from faults.running import run_case, server


def main() -> int:
    """Run the cases asked for; 1 if a call was lost or stored twice."""
    asked = argparse.ArgumentParser(prog="make faults")
    asked.add_argument("--seed", type=int, default=None, help="replays a schedule")
    asked.add_argument("--cases", default="", help="only cases whose name holds this text")
    asked.add_argument("--calls", type=int, default=10_000, help="calls a case makes")
    asked.add_argument("--short", action="store_true", help="as the suite runs it")
    arguments = asked.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"seed {seed}, commit {commit or 'unknown'}: both replay a failure\n")  # noqa: T201
    print("| case | made | unfinished | lost | twice | s | |\n|---|--:|--:|--:|--:|--:|---|")  # noqa: T201
    good = True
    with server() as url:
        left_out = WHOLE_ONLY if arguments.short else set[str]()
        for name in [name for name in CASES if arguments.cases in name and name not in left_out]:
            found = run_case(url, name, calls=arguments.calls, seed=seed, whole=not arguments.short)
            tally = found.tally
            cells = (
                f"{tally.made:,} | {tally.unfinished} | {tally.lost} | {tally.twice} |"
                f" {found.seconds:.1f} | {found.failed or found.notes}"
            )
            print(f"| {name} | {(found.skipped and 'skipped: ' + found.skipped) or cells} |")  # noqa: T201
            sys.stdout.flush()
            good = good and found.is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
