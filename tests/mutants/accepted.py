"""The committed list of mutants that may survive, each with a reason."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutants.mutations import Mutant


class Change(NamedTuple):
    """Lines before and after a change."""

    original: str
    mutated: str


def load_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Accepted:
    """The survivors of a list.

    `[[survivors]]` are single changes of one module, and `[[patterns]]` are regular expressions
    that match the lines before and after a change, in any module.
    """

    def __init__(self, path: Path) -> None:
        content = load_toml(path)
        self._survivors: list[dict[str, str]] = content.get("survivors", [])
        self._patterns: list[dict[str, str]] = content.get("patterns", [])
        for entry in (*self._survivors, *self._patterns):
            if not entry.get("reason"):
                raise ValueError(f"{path}: an entry has no reason: {entry}")

    def compare(
        self, module: Path, survivors: Sequence[Mutant]
    ) -> tuple[list[Mutant], list[Change]]:
        """The survivors that are not listed, and the listed changes that did not survive."""
        expected = Counter(
            Change(entry["original"], entry["mutated"])
            for entry in self._survivors
            if entry["module"] == str(module)
        )
        unlisted: list[Mutant] = []
        for mutant in survivors:
            change = Change(mutant.original, mutant.mutated)
            if expected[change] > 0:
                expected[change] -= 1
            elif not self._matches(change):
                unlisted.append(mutant)
        return unlisted, list(expected.elements())

    def _matches(self, change: Change) -> bool:
        return any(
            re.fullmatch(entry["original"], change.original)
            and re.fullmatch(entry["mutated"], change.mutated)
            for entry in self._patterns
        )
