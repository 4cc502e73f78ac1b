"""The tables of the rooms: the first sentences of each sub-package or top module."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from scripts.draw_rooms import EXPORTER, INSTRUMENTATION
from scripts.reference.markdown import cell, code, table

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.draw_rooms import Package


def exporter_rooms() -> str:
    """Each room of the exporter with what it is for."""
    return _rooms(EXPORTER)


def instrumentation_rooms() -> str:
    """Each room of the instrumentation with what it is for."""
    return _rooms(INSTRUMENTATION)


def _rooms(package: Package) -> str:
    files = [*package.sources.glob("*/__init__.py"), *package.sources.glob("*.py")]
    rows = sorted(
        (code(_name(file, package)), cell(_purpose(file)))
        for file in files
        if file != package.sources / "__init__.py"
    )
    return table(("room", "purpose"), rows)


def _name(file: Path, package: Package) -> str:
    name = str(file.relative_to(package.sources))
    return name.removesuffix("__init__.py")


def _purpose(file: Path) -> str:
    """The first paragraph of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0]
