"""The table of the exporter's rooms: the first sentence of each `__init__`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from scripts.reference.markdown import cell, code, table

ROOT: Final = Path(__file__).parents[2]
EXPORTER: Final = ROOT / "exporter" / "tokenledger_exporter"


def rooms_table() -> str:
    """Each room with what it is for."""
    rows = [(code(name + "/"), cell(sentence)) for name, sentence in rooms(EXPORTER).items()]
    return table(("room", "purpose"), rows)


def rooms(package: Path) -> dict[str, str]:
    """Name of each sub-package -> the first paragraph of its docstring."""
    return {
        init.parent.name: (ast.get_docstring(ast.parse(init.read_text("utf-8"))) or "").split(
            "\n\n"
        )[0]
        for init in sorted(package.glob("*/__init__.py"))
    }
