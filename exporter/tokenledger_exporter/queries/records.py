"""Results of queries as flat records, one dict a row, for pandas, polars or a CSV file."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.paging import RawPage, UsageEvent
from tokenledger_exporter.queries.report import Report
from tokenledger_exporter.queries.results import Aggregate, CostSummary, Trend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenledger_exporter.queries.report import ReportRow
    from tokenledger_exporter.queries.results import (
        DailyCost,
        ErrorRate,
        HourlyCost,
        ProjectedMonth,
        TopError,
    )

Record = dict[str, Any]
"""Column -> value: `Decimal` for US dollars, `int` for counts, `None` for what is not known."""

_STATES: Final = tuple(each.name for each in fields(Coverage))


def as_records(
    result: Report
    | RawPage
    | CostSummary
    | ProjectedMonth
    | Trend[DailyCost]
    | Trend[HourlyCost]
    | ErrorRate
    | Iterable[CostSummary | TopError | Aggregate | UsageEvent],
) -> list[Record]:
    """The rows of a query's result as flat dicts, for `pandas.DataFrame` or `csv.DictWriter`.

    A cost that is not known for any call of a row is `None`, not 0. The columns of a row's coverage
    follow its figures: `priced`, `reported`, `partial` and so on.

    Raises:
        InvalidRequestError: the value is not the result of a query.
    """
    if isinstance(result, Report):
        return [_of_report(result, row) for row in result.rows or (result.totals,)]
    if isinstance(result, RawPage):
        return [event._asdict() for event in result.events]
    if is_dataclass(result) and not isinstance(result, Trend):
        return [_flat(result)]
    try:
        return [_flat(row) for row in result]
    except TypeError:
        raise _not_a_result(result) from None


def _of_report(report: Report, row: ReportRow) -> Record:
    record: Record = dict(zip(report.by, row.labels, strict=False))
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
    return record | _states(row.coverage)


def _flat(row: object) -> Record:
    if isinstance(row, UsageEvent):
        return row._asdict()
    if isinstance(row, Aggregate):
        return {**row.groups, **row.metrics, **_states(row.coverage)}
    if not is_dataclass(row):
        raise _not_a_result(row)
    record: Record = {}
    for each in fields(row):
        value = getattr(row, each.name)
        if not isinstance(value, Coverage | CostSummary):
            record[each.name] = value
    coverage: Coverage | None = getattr(row, "coverage", None)
    if isinstance(row, CostSummary):
        record["total_tokens"] = row.total_tokens
        if row.coverage.knows_no_cost:
            record["total_cost"] = None
    return record | (_states(coverage) if coverage else {})


def _states(coverage: Coverage) -> Record:
    return {name: getattr(coverage, name) for name in _STATES}


def _not_a_result(value: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"as_records takes the result of a query, not {type(value).__name__!r}"
    )
