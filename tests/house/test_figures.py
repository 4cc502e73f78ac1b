"""The layout stays readable: small folders, few layers, short modules, plain names and words."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import grimp
import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {
    "tokenledger": ROOT / "instrumentation" / "tokenledger",
    "tokenledger_exporter": ROOT / "exporter" / "tokenledger_exporter",
    "tokenledger_semconv": ROOT / "semconv" / "tokenledger_semconv",
}
PARTICIPLES: Final = frozenset(
    {"told", "found", "kept", "held", "given", "asked", "beside", "aside", "telling", "stretch"}
)
"""Names that say how a value was obtained, and not what it holds."""

ODD_WORDS: Final = re.compile(
    r"\b(told|tells? of|telling of|tellings?|dearest|stretch(es)?|whom|anew|nobody|somebody"
    r"|whoever|beside|aside|for ever|in vain|lets? go)\b",
    re.IGNORECASE,
)


@cache
def modules() -> list[Path]:
    return sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def floors(package: str) -> int:
    """The length of the longest chain of imports between the top-level rooms of a package."""
    graph = grimp.build_graph(package)
    rooms = graph.find_children(package)
    for room in rooms:
        graph.squash_module(room)
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            below = (graph.find_modules_directly_imported_by(room) & rooms) - {room}
            heights[room] = 1 + max(map(height, below), default=0)
        return heights[room]

    return max(map(height, rooms))


def test_a_folder_has_at_most_16_modules() -> None:
    sizes = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {folder: size for folder, size in sizes.items() if size > 16} == {}


def test_a_module_has_at_most_400_lines_and_half_of_them_have_120() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in modules()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
    assert statistics.median(lengths.values()) <= 120


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_at_most_10_layers(package: str) -> None:
    assert floors(package) <= 10


def test_each_room_says_in_one_sentence_what_it_is() -> None:
    packages = [path for path in modules() if path.name == "__init__.py"]
    assert [path for path in packages if not ast.get_docstring(tree_of(path))] == []


def test_a_name_says_what_it_holds() -> None:
    names = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.Name, ast.arg))
        and (name := node.id if isinstance(node, ast.Name) else node.arg) in PARTICIPLES
    ]
    assert names == []


"""Files whose odd words are still to be replaced."""


def prose(path: Path) -> str:
    """Comments, docstrings and messages of a module; the text of a page without its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    strings = [
        node.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    return "\n".join([*re.findall(r"(?m)#(.*)$", text), *strings])


def explanations(path: Path) -> str:
    """Comments, docstrings and names of functions and classes of a test or benchmark."""
    tree = tree_of(path)
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    definitions = [node for node in ast.walk(tree) if isinstance(node, named)]
    docstrings = [ast.get_docstring(node) or "" for node in (tree, *definitions)]
    comments = re.findall(r"(?m)#(.*)$", path.read_text(encoding="utf-8"))
    return "\n".join([*comments, *docstrings, *(_words(node.name) for node in definitions)])


def identifiers(path: Path) -> str:
    """Every name of a module, split into its words."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return "\n".join(map(_words, sorted(names)))


def _words(name: str) -> str:
    return name.replace("_", " ")


def test_prose_and_names_use_plain_words() -> None:
    """CONTRIBUTING.md has the words to use instead of an odd one."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    others = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    texts = {path: prose(path) + identifiers(path) for path in modules()}
    texts |= {path: prose(path) for path in pages}
    texts |= {path: explanations(path) for path in others}
    places = {
        str(path.relative_to(ROOT)): words
        for path, text in texts.items()
        # Quoted code, such as the user `nobody`, is not prose.
        if (words := [match[0] for match in ODD_WORDS.finditer(re.sub(r"`[^`]*`", "", text))])
    }
    assert places == {}
