"""Rows of results as flat records: one dict a row, an unknown cost as `None`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger_exporter.domain.coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

Record = dict[str, Any]
"""Column -> value: `Decimal` for US dollars, `int` for counts, `None` for what is not known."""

COSTS: Final = ("cost_usd", "total_cost", "change_usd")
"""Columns of money, of which a result has one at least; the first one it has is plotted."""

STATES: Final = tuple(each.name for each in fields(Coverage))
"""The columns of a row's coverage."""


class GroupRow(Protocol):
    """A row of a report."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of the dimensions."""
        ...

    @property
    def known_cost_usd(self) -> Decimal | None:
        """The cost; `None` if it is not known."""
        ...

    @property
    def calls(self) -> int:
        """How many calls."""
        ...

    @property
    def input_tokens(self) -> int:
        """Their input tokens."""
        ...

    @property
    def output_tokens(self) -> int:
        """Their output tokens."""
        ...

    @property
    def cached_tokens(self) -> int:
        """Their cached input tokens."""
        ...

    @property
    def previous_cost_usd(self) -> Decimal | None:
        """The cost before; `None` without a comparison."""
        ...

    @property
    def known_previous_cost_usd(self) -> Decimal | None:
        """The cost before; `None` if it is not known."""
        ...

    @property
    def change_usd(self) -> Decimal | None:
        """The change."""
        ...

    @property
    def coverage(self) -> Coverage:
        """The coverage."""
        ...


def group_record(by: Sequence[str], row: GroupRow) -> Record:
    """A row of a report by these dimensions."""
    record: Record = dict(zip(by, row.labels, strict=False))
    record |= {
        "cost_usd": row.known_cost_usd,
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_tokens": row.cached_tokens,
    }
    if row.previous_cost_usd is not None:
        record |= {
            "previous_cost_usd": row.known_previous_cost_usd,
            "change_usd": row.change_usd,
        }
    return record | states_of(row.coverage)


def flat_record(row: Any) -> Record:  # noqa: ANN401 - any dataclass of results
    """The fields of a result, without results in it, and the columns of its coverage."""
    coverage: Coverage | None = getattr(row, "coverage", None)
    record: Record = {}
    for each in fields(row):
        value = getattr(row, each.name)
        if not isinstance(value, Coverage) and not hasattr(value, "coverage"):
            record[each.name] = value
    if hasattr(row, "known_cost"):
        record |= {"total_tokens": row.total_tokens, "total_cost": row.known_cost}
    return record | (states_of(coverage) if coverage else {})


def states_of(coverage: Coverage) -> Record:
    """The columns of a coverage."""
    return {name: getattr(coverage, name) for name in STATES}


def mark_of(record: Record) -> str:
    """The mark of a cost as in a printed report: `+` it is higher, `~` it is not exact."""
    more = "+" if record.get("unpriced", 0) + record.get("unmeasured", 0) else ""
    return more + ("~" if record.get("partial", 0) + record.get("estimated", 0) else "")


def label_columns(records: Sequence[Record]) -> list[str]:
    """The columns that say what a row is about: dimensions and times."""
    money = {*COSTS, "previous_cost_usd"}
    return [
        name
        for name in (records[0] if records else ())
        if name not in money and all(_is_label(record[name]) for record in records)
    ]


def cost_column(records: Sequence[Record]) -> str:
    """The column of the cost; "" if there is none."""
    return next((name for name in COSTS if records and name in records[0]), "")


def _is_label(value: object) -> bool:
    return isinstance(value, str) or hasattr(value, "isoformat")
