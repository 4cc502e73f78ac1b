"""Results of queries as flat records, one dict a row, for pandas, polars or a CSV file."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.notebook import NotebookResult, flat_record, states_of
from tokenledger_exporter.queries.paging import UsageEvent
from tokenledger_exporter.queries.results import Aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenledger_exporter.queries.notebook import Record
    from tokenledger_exporter.queries.results import CostSummary, ErrorRate, TopError


def as_records(
    result: NotebookResult | ErrorRate | Iterable[CostSummary | TopError | Aggregate | UsageEvent],
) -> list[Record]:
    """The rows of a query's result as flat dicts, for `pandas.DataFrame` or `csv.DictWriter`.

    A cost that is not known for any call of a row is `None`, not 0. The columns of a row's coverage
    follow its figures: `priced`, `reported`, `partial` and so on.

    Raises:
        InvalidRequestError: the value is not the result of a query.
    """
    if isinstance(result, NotebookResult):
        return result.to_records()
    if is_dataclass(result):
        return [_flat(result)]
    try:
        return [_flat(row) for row in result]
    except TypeError:
        raise _not_a_result(result) from None


def _flat(row: object) -> Record:
    if isinstance(row, UsageEvent):
        return row._asdict()
    if isinstance(row, Aggregate):
        return {**row.groups, **row.metrics, **states_of(row.coverage)}
    if not is_dataclass(row):
        raise _not_a_result(row)
    return flat_record(row)


def _not_a_result(value: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"as_records takes the result of a query, not {type(value).__name__!r}"
    )
