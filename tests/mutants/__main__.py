"""Mutates modules, runs their tests, and compares the survivors with the committed list."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutants.accepted import Accepted, load_toml
from mutants.mutations import mutants_of
from mutants.running import Target, survivors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutants.mutations import Mutant

_LIST: Final = Path(__file__).with_name("survivors.toml")
_CONFIGURATION: Final = "pyproject.toml"


def _targets(words: Sequence[str]) -> list[Target]:
    """The configured modules whose path contains one of the words; all without words."""
    table = load_toml(Path(_CONFIGURATION))["tool"]["mutants"]
    targets = [Target(Path(path), tuple(tests)) for path, tests in table["modules"].items()]
    return [one for one in targets if not words or any(word in str(one.path) for word in words)]


def _describe(path: Path, mutant: Mutant) -> str:
    """An entry for the list, without its reason."""
    return "\n".join(
        (
            f"\n[[survivors]] # line {mutant.line}",
            f'module = "{path}"',
            f"original = '''{mutant.original}'''",
            f"mutated = '''{mutant.mutated}'''",
            'reason = ""',
        )
    )


def main() -> int:
    """Run; the exit code is 1 if a survivor is not listed or too many mutants survive."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="parts of module paths; all without")
    parser.add_argument("--jobs", type=int, default=2, help="test runs at a time")
    parser.add_argument("--least", type=float, default=95, help="percent that must be killed")
    arguments = parser.parse_args()
    accepted = Accepted(_LIST)
    total = killed = 0
    problems = False
    for target in _targets(arguments.modules):
        start = time.monotonic()
        mutants = mutants_of(target.path.read_text(encoding="utf-8"))
        alive = survivors(target, mutants, arguments.jobs)
        total, killed = total + len(mutants), killed + len(mutants) - len(alive)
        seconds = time.monotonic() - start
        print(f"{target.path}: {len(mutants) - len(alive)}/{len(mutants)} in {seconds:.0f} s")
        unlisted, stale = accepted.compare(target.path, alive)
        for mutant in unlisted:
            print(_describe(target.path, mutant))
        for entry in stale:
            print(f"listed, but killed or gone: {entry.original!r} -> {entry.mutated!r}")
        problems = problems or bool(unlisted or stale)
        sys.stdout.flush()
    score = 100 * killed / total if total else 0
    print(f"{killed} of {total} mutants killed: {score:.1f} %")
    return int(problems or score < arguments.least)


if __name__ == "__main__":
    sys.exit(main())
