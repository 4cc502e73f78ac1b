"""Tables of the contract's constants: name, value and the docstring line below each."""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.reference.markdown import cell, code, table
from tokenledger_semconv import attributes, dimensions, genai_metrics, metrics

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class Constant:
    """One constant of a module."""

    name: str
    value: str
    meaning: str


def constants(module: ModuleType) -> list[Constant]:
    """The text constants of a module that have a docstring, in their order."""
    body = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body
    listed: list[Constant] = []
    for statement, following in itertools.pairwise(body):
        if not (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(statement.value, ast.Constant)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            continue
        value, meaning = statement.value.value, following.value.value
        if isinstance(value, str) and isinstance(meaning, str):
            listed.append(Constant(statement.target.id, value, meaning))
    return listed


def span_attributes() -> str:
    """The attributes of the contract, and how dimensions map to them."""
    rows = [(code(each.value), cell(each.meaning)) for each in constants(attributes)]
    return (
        table(("attribute", "meaning, type, unit, who sets it"), rows)
        + "\n## Dimensions\n\n"
        + table(
            ("dimension", "column", "attribute", "keyword of `attribution`"),
            [
                (
                    code(each.name),
                    code(each.column),
                    code(each.attribute),
                    ", ".join(code(key) for key in each.keys),
                )
                for each in dimensions.DIMENSIONS
            ],
        )
    )


def ledger_metrics() -> str:
    """The metrics a ledger reports."""
    rows = [
        (code(each.value), cell(each.meaning))
        for each in constants(metrics)
        if each.name != "METER"
    ]
    return table(("metric", "kind, unit, meaning"), rows)


def call_metrics() -> str:
    """The conventions' metrics of calls, and which set each belongs to."""
    latest = ("gen_ai.client.inference.", "gen_ai.client.embeddings.")
    rows = [
        (
            code(each.value),
            "newest" if each.value.startswith(latest) else "default",
            cell(each.meaning),
        )
        for each in constants(genai_metrics)
        if each.value.startswith("gen_ai.client.")
    ]
    return table(("metric", "set", "kind, unit, meaning"), rows)
