"""Makes the mutants of a module with Cosmic Ray's operators.

It runs in the environment of `make mutants`, which has Cosmic Ray; the others do not.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT_GUARD: Final = "TYPE_CHECKING"
_CLASS_OPTIONS: Final = frozenset({"frozen", "slots", "gc"})
"""Options of a class that change no result: they prevent mistakes and save memory."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change.

    Args:
        line: number of the first changed line.
        original: the changed lines as they are, without indentation.
        mutated: the same lines after the change.
        source: the whole module after the change.
    """

    line: int
    original: str
    mutated: str
    source: str


def mutants_of(source: str) -> list[Mutant]:
    """The mutants of a module, in the order of its lines, each once.

    A change in an annotation, a protocol or an import guard is left out, because none of them runs,
    and so is one in the options of a class.
    """
    seen = {_executed(source)}
    mutants: list[Mutant] = []
    for text in _mutated_sources(source):
        try:
            executed = _executed(text)
        except SyntaxError:  # `not` before an assignment expression without parentheses
            continue
        if executed not in seen:
            seen.add(executed)
            mutants.append(_mutant(source, text))
    return sorted(mutants, key=lambda mutant: mutant.line)


def _mutated_sources(source: str) -> Iterator[str]:
    nodes = list(ast_nodes(get_ast(source)))
    provider = OperatorProvider()
    for name in provider:
        if provider[name].arguments():
            continue
        operator = provider[name]()
        positions = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        for occurrence in range(positions):
            # Cosmic Ray 8.7 cannot replace an exception with a dot in its name.
            with suppress(AttributeError):
                text = mutate_code(source, operator, occurrence)
                if text is not None:
                    yield text


def _mutant(source: str, text: str) -> Mutant:
    before, after = source.splitlines(), text.splitlines()
    start = _equal(before, after)
    end = _equal(before[start:][::-1], after[start:][::-1])
    removed, added = before[start : len(before) - end], after[start : len(after) - end]
    return Mutant(start + 1, _stripped(removed), _stripped(added), text)


def _equal(one: list[str], other: list[str]) -> int:
    """How many lines are equal from the start on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _stripped(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)


class _OnlyExecuted(ast.NodeTransformer):
    """Removes what does not run."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(ast.unparse(base) == "Protocol" for base in node.bases):
            node.body = [ast.Pass()]
        calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
        owners: tuple[ast.ClassDef | ast.Call, ...] = (node, *calls)
        for owner in owners:
            owner.keywords = [word for word in owner.keywords if word.arg not in _CLASS_OPTIONS]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _IMPORT_GUARD in ast.unparse(node.test) else self.generic_visit(node)


def _executed(source: str) -> str:
    return ast.dump(_OnlyExecuted().visit(ast.parse(source)))
