"""The layout of the package, as far as the import contracts cannot express it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tokenledger

PACKAGE = Path(tokenledger.__file__).parent
PROJECT = Path(__file__).parents[2]
FACADES = {"tokenledger.queries", "tokenledger.server"}
GENERIC = sorted((PACKAGE / "instrumentors").glob("_*/*.py"))
SDKS = re.compile(r"openai|anthropic", re.IGNORECASE)


def names_in(module: Path) -> list[str]:
    """Every identifier, imported module and text in a module, docstrings and comments left out."""
    tree = ast.parse(module.read_text("utf-8"))
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            names.append(str(node.value))
        elif isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.alias):
            names += [node.name, node.asname or ""]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.arg):
            names.append(node.arg)
    return names


@pytest.mark.parametrize("module", GENERIC, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_generic_instrumentor_code_names_no_sdk(module: Path) -> None:
    assert [name for name in names_in(module) if SDKS.search(name)] == []


def test_the_search_for_names_finds_them_in_an_sdks_own_folder() -> None:
    names = names_in(PACKAGE / "instrumentors" / "openai" / "apis.py")
    assert {"openai._base_client", "OpenAIInstrumentor"} <= set(names)


def test_every_room_but_the_facades_is_in_the_contract_against_the_exporter() -> None:
    """The contract lists the rooms; a new one must be added to it."""
    contracts = (PROJECT / "pyproject.toml").read_text("utf-8")
    listed = re.search(r"source_modules = \[\n(.*?)\n\]", contracts, re.DOTALL)
    assert listed is not None
    rooms = {
        f"tokenledger.{path.stem}"
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert set(re.findall(r'"(.*?)"', listed[1])) == rooms - FACADES - {"tokenledger.__init__"}
