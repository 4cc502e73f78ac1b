"""Finds the fenced blocks of Markdown files: language, attributes, text and place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OPENING = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


@dataclass(frozen=True)
class Fence:
    """One fenced block.

    Args:
        file: the Markdown file.
        line: number of the first line of its text.
        language: the first word after the fence.
        attributes: what else stands on the fence, such as `no-run`.
        text: its lines, without the indentation of the fence.
    """

    file: Path
    line: int
    language: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def runs(self) -> bool:
        """Whether it is run: the fence gives no reason why it cannot."""
        return "no-run" not in self.attributes

    @property
    def place(self) -> str:
        """Its file and line."""
        return f"{self.file.parent.name}/{self.file.name}:{self.line}"


def fences(file: Path) -> list[Fence]:
    """The fenced blocks of a file, in their order."""
    return list(_fences(file))


def _fences(file: Path) -> Iterator[Fence]:
    lines = iter(enumerate(file.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        opening = _OPENING.match(line)
        if opening is None:
            continue
        indent, fence, info = opening["indent"], opening["fence"], opening["info"].strip()
        text: list[str] = []
        for _, inner in lines:
            if inner.strip().startswith(fence) and not inner.strip().strip(fence[0]):
                break
            text.append(inner.removeprefix(indent))
        else:
            raise ValueError(f"{file}:{number}: the fence is not closed")
        yield Fence(
            file=file,
            line=number + 1,
            language=info.split(" ")[0],
            text="\n".join(text) + "\n",
            attributes=dict(_ATTRIBUTE.findall(info)),
        )
