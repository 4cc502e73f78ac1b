"""Draw docs/assets/rooms-*.svg: the rooms of each package on their floors, and their imports.

The floors are those of the layers contracts in pyproject.toml; the arrows are read from the
sources. An arrow that a chain of other arrows implies is left out.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parents[1]

_WIDTH: Final = 980
_FLOOR: Final = 84
_HEIGHT: Final = 38
_STYLE: Final = (
    "text{font:14px ui-sans-serif,system-ui,sans-serif;fill:#1f2937;text-anchor:middle}"
    "rect{fill:#eef2ff;stroke:#6366f1;stroke-width:1.5}"
    "path{fill:none;stroke:#94a3b8;stroke-width:1.2;marker-end:url(#head)}"
    "g:hover path{stroke:#4338ca;stroke-width:2}"
)


@dataclass(frozen=True)
class Package:
    """A package with a layers contract."""

    name: str
    folder: str

    @property
    def sources(self) -> Path:
        """Where its modules are."""
        return ROOT / self.folder / self.name

    @property
    def picture(self) -> Path:
        """Where its picture is."""
        return ROOT / "docs" / "assets" / f"rooms-{self.folder}.svg"


EXPORTER: Final = Package("tokenledger_exporter", "exporter")
INSTRUMENTATION: Final = Package("tokenledger", "instrumentation")


@dataclass(frozen=True)
class Place:
    """Where a room's box stands: the middle of its upper edge, and its width."""

    x: float
    y: float
    width: float


def packages() -> list[Package]:
    """The packages that have a layers contract."""
    return [package for package in (EXPORTER, INSTRUMENTATION) if floors(package)]


def floors(package: Package) -> list[list[str]]:
    """The rooms, floor by floor from the top, as the layers contract lists them."""
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = contracts.partition(f'type = "layers"\ncontainers = ["{package.name}"]')[2]
    block = block.partition("layers = [")[2].partition("\n]")[0]
    return [re.findall(r"\w+", line) for line in re.findall(r'"([^"]+)"', block)]


def imports(package: Package) -> dict[str, set[str]]:
    """Room -> the rooms it imports, those that only a type checker imports included."""
    arrows: dict[str, set[str]] = {}
    for file in sorted(package.sources.rglob("*.py")):
        room = file.relative_to(package.sources).parts[0].removesuffix(".py")
        targets = {target for target in _targets(file, package.name) if target not in {room, ""}}
        arrows.setdefault(room, set()).update(targets)
    return arrows


def _targets(file: Path, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names = [f"{package}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top, _, rest = name.partition(".")
            if top == package:
                yield rest.partition(".")[0]


def essential(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that a longer chain of arrows implies."""
    below = {room: _below(room, arrows) for room in arrows}
    return {
        room: {
            target
            for target in targets
            if not any(target in below.get(other, ()) for other in targets - {target})
        }
        for room, targets in arrows.items()
    }


def _below(room: str, arrows: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [*arrows.get(room, ())]
    while waiting:
        target = waiting.pop()
        if target not in reached:
            reached.add(target)
            waiting.extend(arrows.get(target, ()))
    return reached


def drawing(package: Package) -> str:
    """The SVG: a box per room, an arrow per import between rooms."""
    levels, arrows = floors(package), essential(imports(package))
    places = dict(_places(levels))
    height = _FLOOR * len(levels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>The rooms of {package.name} and their imports</title>",
        f"<style>{_STYLE}</style>",
        (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" '
            'style="fill:#94a3b8;stroke:none"/></marker></defs>'
        ),
        f'<rect width="{_WIDTH}" height="{height}" style="fill:#ffffff;stroke:none"/>',
    ]
    for room, start in places.items():
        targets = sorted(target for target in arrows.get(room, ()) if target in places)
        paths = "".join(_arrow(start, places[target]) for target in targets)
        lines.append(f"<g><title>{escape(room)}: {', '.join(targets)}</title>{paths}</g>")
    for room, place in places.items():
        left = place.x - place.width / 2
        lines.append(
            f'<rect x="{left:g}" y="{place.y:g}" width="{place.width:g}" height="{_HEIGHT}" '
            f'rx="7"/><text x="{place.x:g}" y="{place.y + 24:g}">{escape(room)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _places(levels: Sequence[Sequence[str]]) -> Iterator[tuple[str, Place]]:
    for floor, rooms in enumerate(levels):
        gap = _WIDTH / len(rooms)
        for position, room in enumerate(rooms):
            # Rooms alone on a floor are shifted, so that arrows past them stay visible.
            step = (floor % 3 - 1) * 90 if len(rooms) == 1 else 0
            width = max(118, 9 * len(room) + 20)
            yield room, Place(gap * (position + 0.5) + step, _FLOOR * floor + 22, width)


def _arrow(start: Place, end: Place) -> str:
    """A curve from the lower edge of one box to the upper edge of a lower one."""
    x1, y1 = start.x, start.y + _HEIGHT
    x2, y2 = end.x, end.y - 1
    x1 += max(-40.0, min(40.0, (x2 - x1) / 8))
    x2 += max(-40.0, min(40.0, (x1 - x2) / 8))
    bend = (y2 - y1) / 2
    curve = f"{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    return f'<path d="M{x1:.0f} {y1:.0f}C{curve}"/>'


def main() -> None:
    """Write the pictures."""
    for package in packages():
        package.picture.write_text(drawing(package), encoding="utf-8")


if __name__ == "__main__":
    main()
