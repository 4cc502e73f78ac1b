"""The columns of the roll-ups, as their statements list, sum and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.sql import fragment, statements
from tokenledger_semconv.dimensions import ROLLED_UP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import LiteralString

_SQL: Final = statements("rollups_refresh")

FIGURES: Final = (
    *("calls", "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cost_usd"),
    *("errors", "priced", "partial", "estimated", "unpriced", "unmeasured", "not_settled"),
)
"""The columns of sums."""

UNDIVIDED: Final = frozenset({"user"})
"""Dimensions whose roll-up is not divided by provider and model: their values are too many."""


def listed(template: LiteralString, names: Iterable[str] = FIGURES) -> sql.Composed:
    """A template a name, with commas between."""
    return sql.SQL(", ").join(sql.SQL(template).format(name=sql.Identifier(name)) for name in names)


def zeros() -> sql.Composed:
    """A nothing a figure."""
    return sql.SQL(", ").join([sql.SQL("0::numeric")] * len(FIGURES))


def over_calls() -> dict[str, sql.Composable]:
    """A statement's `{columns}` and `{figures_of_calls}`, and `{summed_calls}`, their sums."""
    provider, model = sql.Identifier("provider"), sql.Identifier("model")
    sets: list[sql.Composable] = [sql.SQL("(bucket, provider, model)")]
    dimension: list[sql.Composable] = []
    value: list[sql.Composable] = []
    for known in ROLLED_UP:
        column = sql.Identifier(known.column)
        told = "(bucket, {})" if known.name in UNDIVIDED else "(bucket, {}, provider, model)"
        sets.append(sql.SQL(told).format(column))
        case = sql.SQL("WHEN GROUPING({}) = 0 THEN {}")
        dimension.append(case.format(column, sql.Literal(known.name)))
        value.append(case.format(column, column))
    columns = [provider, model, *(sql.Identifier(known.column) for known in ROLLED_UP)]
    cases = sql.SQL("CASE {} ELSE '' END")
    return {
        "columns": sql.SQL(", ").join(columns),
        "figures_of_calls": sql.SQL(fragment(_SQL["figures_of_calls"])),
        "summed_calls": sql.SQL(fragment(_SQL["summed_calls"])).format(
            dimension=cases.format(sql.SQL(" ").join(dimension)),
            value=cases.format(sql.SQL(" ").join(value)),
            sets=sql.SQL(", ").join(sets),
        ),
    }


ADDED: Final = listed("{name} = stored.{name} + excluded.{name}")
"""What a sum becomes where it is there already."""

_SUMS: Final = listed("sum({name})")


def recompute_statement(level: str) -> sql.Composed:
    """The statement that adds the difference of calls and sums to slices or hours, and above."""
    other_level = "add_to_slices" if level == "slices" else "add_to_weeks"
    adding = {"figures": listed("{name}"), "sums": _SUMS, "added": ADDED}
    return sql.SQL(_SQL["recompute"]).format(
        **over_calls(),
        **adding,
        other_level=sql.SQL(fragment(_SQL[other_level])).format(**adding),
        level=sql.Identifier(f"token_ledger_rollup_{level}"),
        named_sums=listed("sum({name}) AS {name}"),
        negated=listed("-stored.{name}"),
        zeros=zeros(),
    )
