"""Columns of the roll-ups, as their statements list, sum and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.sql import fill, fragment, statements, trusted
from tokenledger_semconv.dimensions import ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import LiteralString

_SQL: Final = statements("rollups_refresh")

FIGURES: Final = (
    *("calls", "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cost_usd"),
    *("errors", "priced", "partial", "estimated", "unpriced", "unmeasured", "not_settled"),
    *("reported", "cost_differs"),
)
"""Columns of sums."""

NOT_SPLIT_BY_MODEL: Final = frozenset({"user"})
"""Dimensions whose roll-up is not split by provider and model, because they have many values."""

_LINE: Final = 88


def listed(template: LiteralString, names: Iterable[str] = FIGURES) -> LiteralString:
    """A template for each name, with commas between, in lines of readable length."""
    lines = [""]
    for name in names:
        item = template.replace("{name}", name)
        if len(lines[-1]) + len(item) > _LINE:
            lines.append("")
        lines[-1] += f"{item}, "
    text = "\n".join(line.rstrip() for line in lines if line)
    return trusted(text.removesuffix(","))


ADD_EXPRESSIONS: Final = listed("{name} = stored.{name} + excluded.{name}")
"""Assignments that add new sums to the stored ones."""

SUM_EXPRESSIONS: Final[Mapping[str, LiteralString]] = {
    "figures": listed("{name}"),
    "sums": listed("sum({name})"),
    "named_sums": listed("sum({name}) AS {name}"),
    "negated": listed("-stored.{name}"),
    "added": ADD_EXPRESSIONS,
    "zeros": listed("0::numeric"),
}
"""Braces of statements that sum and compare roll-ups."""


def over_calls() -> dict[str, LiteralString]:
    """Braces of statements that sum calls by every dimension at once."""
    names = [dimension.column for dimension in ROLLUP_DIMENSIONS]
    sets = ["(bucket, provider, model)"]
    for dimension in ROLLUP_DIMENSIONS:
        split_by = "" if dimension.name in NOT_SPLIT_BY_MODEL else ", provider, model"
        sets.append(f"(bucket, {dimension.column}{split_by})")
    grouped = "WHEN GROUPING({column}) = 0 THEN {result}"
    dimensions = [
        grouped.format(column=dimension.column, result=f"'{dimension.name}'")
        for dimension in ROLLUP_DIMENSIONS
    ]
    values = [grouped.format(column=name, result=name) for name in names]
    return {
        "columns": listed("{name}", ("provider", "model", *names)),
        "figures_of_calls": fragment(_SQL["figures_of_calls"]),
        "summed_calls": fill(
            fragment(_SQL["summed_calls"]),
            dimension=_case(dimensions),
            value=_case(values),
            sets=trusted(",\n".join(sets)),
        ),
    }


def _case(branches: list[str]) -> LiteralString:
    lines = ["CASE", *(f"    {branch}" for branch in branches), "    ELSE ''", "END"]
    return trusted("\n".join(lines))


def recompute_statement(level: str) -> sql.SQL:
    """The statement that adds the difference of calls and sums to every level.

    Args:
        level: slices or hours, whichever the buckets are.
    """
    other_level = "add_to_slices" if level == "slices" else "add_to_weeks"
    text = fill(
        _SQL["recompute"],
        **SUM_EXPRESSIONS,
        **over_calls(),
        other_level=fill(fragment(_SQL[other_level]), **SUM_EXPRESSIONS),
        level=trusted(f"token_ledger_rollup_{level}"),
    )
    return sql.SQL(text)
