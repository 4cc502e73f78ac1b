"""Reads the cells of two periods, from the roll-ups or from the calls."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import (
    BUCKETS,
    UTC,
    by_name,
    dimension_names,
    group,
    label_columns,
    narrowed,
    narrowing_values,
)
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import STANDARD_NAMES
from tokenledger_exporter.queries.arguments import check_text
from tokenledger_exporter.queries.report import ReportRequest, compared_steps
from tokenledger_exporter.queries.why.arithmetic import causes_of
from tokenledger_exporter.queries.why.cells import (
    EXACT,
    KINDS,
    Amount,
    Cell,
    Model,
    Tier,
    total_usd,
)
from tokenledger_exporter.queries.why.results import Driver, WhyReport
from tokenledger_exporter.rollups.columns import NOT_SPLIT_BY_MODEL
from tokenledger_exporter.rollups.source import source_of
from tokenledger_exporter.sql import statements
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.report import Report
    from tokenledger_exporter.queries.why.arithmetic import Contribution
    from tokenledger_exporter.queries.why.cells import Cells
    from tokenledger_exporter.rollups.source import Source

_SQL: Final = statements("why")
_ZERO: Final = Decimal(0)
_LABELS: Final = ("label_0", "label_1", "label_2")

MOST_CALLS_TO_READ: Final = 100_000
"""The most calls of both periods together that are read one by one without being asked to."""


@dataclass(frozen=True, slots=True)
class WhyRequest:
    """The question why a cost changed.

    Args:
        by: the dimension whose values are compared, or `metadata.<key>`.
        since: start of the period, included, with a time zone.
        until: its end, excluded; `preceding_period` says what it is compared with.
        where: filters.
        detail: whether to read single calls, which splits the cost per token into output share,
            cache share, service tier and price; `None` means if there are at most
            `MOST_CALLS_TO_READ`, or if the roll-ups do not have the answer.
        zone: time zone of months: a month is compared with the month before.
    """

    by: str
    since: datetime
    until: datetime
    where: Where | None = None
    detail: bool | None = None
    zone: str = UTC

    def __post_init__(self) -> None:
        check_text("by", self.by)
        if self.detail is not None and not isinstance(self.detail, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - an argument of the app
            raise InvalidRequestError(f"detail must be True, False or None, not {self.detail!r}")
        object.__setattr__(self, "by", dimension_name(self.by))
        object.__setattr__(self, "where", by_name(self.where) if self.where else None)


def why_steps(request: WhyRequest) -> Steps[WhyReport]:
    """The steps of the comparison.

    Raises:
        InvalidRequestError: the dimension or a filter is unknown, or the period is empty.
    """
    _check(request)
    totals = yield from compared_steps(
        ReportRequest((), request.since, request.until, where=request.where, zone=request.zone)
    )
    periods = (
        (totals.compared_since or request.since, totals.compared_until or request.since),
        (request.since, request.until),
    )
    is_detailed, before, after = yield from _both_periods(request, totals, periods)
    before_usd = totals.totals.previous_cost_usd or _ZERO
    removed = _removed(totals, before, after)
    is_known = totals.totals.change_usd is not None
    notes = _notes(request, totals, is_detailed=is_detailed, is_known=is_known)
    if removed:
        notes = (*notes, "some calls were removed by retention: only their sums are known")
    return WhyReport(
        by=request.by,
        since=request.since,
        until=request.until,
        compared_since=periods[0][0],
        compared_until=periods[0][1],
        cost_usd=totals.totals.cost_usd,
        previous_cost_usd=before_usd,
        calls=totals.totals.calls,
        previous_calls=totals.previous.calls if totals.previous else 0,
        coverage=totals.coverage,
        previous_coverage=totals.previous or totals.coverage,
        causes=causes_of(before, after, removed) if is_known else (),
        is_detailed=is_detailed,
        notes=(*totals.notes, *notes),
        where=totals.where,
    )


_Periods = tuple[tuple["datetime", "datetime"], tuple["datetime", "datetime"]]


def _both_periods(
    request: WhyRequest, totals: Report, periods: _Periods
) -> Steps[tuple[bool, Cells, Cells]]:
    """Whether single calls were read, and the cells of both periods."""
    names = {request.by, *(request.where or ())}
    if request.by not in NOT_SPLIT_BY_MODEL:
        names |= {"provider", "model"}
    is_summed = all(source_of(names, *period).is_rolled_up for period in periods)
    calls = totals.totals.calls + (totals.previous.calls if totals.previous else 0)
    wants_calls = calls <= MOST_CALLS_TO_READ if request.detail is None else request.detail
    if wants_calls or not is_summed:
        before = yield from _detailed_cells(request, *periods[0])
        after = yield from _detailed_cells(request, *periods[1])
        if not is_summed or not _removed(totals, before, after):
            return True, before, after
    before = yield from _summed_cells(request, names, *periods[0])
    after = yield from _summed_cells(request, names, *periods[1])
    return False, before, after


def _summed_cells(
    request: WhyRequest, names: set[str], since: datetime, until: datetime
) -> Steps[Cells]:
    source = source_of(names, since, until)
    where = tuple(request.where or ())
    values = {"since": since, "until": until, **narrowing_values(request.where)}
    statement = _statement("cells", request.by, where, source)
    rows = yield Statement(statement, values, caches_plan=True)
    cells: Cells = {}
    for row in rows:
        value, provider, model = (str(row[label]) for label in _LABELS)
        cells.setdefault(value, {})[Model(provider, model)] = _summed_cell(row)
    return cells


def _summed_cell(row: Mapping[str, Any]) -> Cell:
    known = row["calls"] - row["unpriced"] - row["unmeasured"]
    # An unmeasured call has no tokens; those of an unpriced one are in the sum.
    tokens = None if row["unpriced"] else row["input_tokens"] + row["output_tokens"]
    return Cell(row["calls"], known, row["cost_usd"], tokens)


def _detailed_cells(request: WhyRequest, since: datetime, until: datetime) -> Steps[Cells]:
    where = tuple(request.where or ())
    values = {"since": since, "until": until, **narrowing_values(request.where)}
    rows = yield Statement(_statement("detailed_cells", request.by, where, None), values)
    groups: dict[tuple[str, Model], list[Mapping[str, Any]]] = {}
    for row in rows:
        value, provider, model = (str(row[label]) for label in _LABELS)
        groups.setdefault((value, Model(provider, model)), []).append(row)
    cells: Cells = {}
    for (value, of_model), tiers in groups.items():
        cells.setdefault(value, {})[of_model] = _detailed_cell(tiers)
    return cells


def _detailed_cell(rows: Iterable[Mapping[str, Any]]) -> Cell:
    """The cell of all service tiers."""
    calls = known = tokens = 0
    cost = _ZERO
    tiers: dict[str, Tier] = {}
    for row in rows:
        calls += row["calls"]
        known += row["known_calls"]
        cost = EXACT.add(cost, row["cost_usd"])
        tokens += sum(row[f"{kind}_tokens"] for kind in KINDS)
        tier = _tier(row)
        tiers[tier.name] = _joined(tiers[tier.name], tier) if tier.name in tiers else tier
    return Cell(calls, known, cost, tokens, tuple(tiers.values()))


def _tier(row: Mapping[str, Any]) -> Tier:
    other = row["cost_usd"]
    amounts: list[Amount] = []
    for kind in KINDS:
        tokens = row[f"{kind}_tokens"]
        # What was billed without tokens, such as seconds of audio, has no rate per token.
        cost = row[f"{kind}_usd"] if tokens else _ZERO
        amounts.append(Amount(tokens, cost))
        other = EXACT.subtract(other, cost)
    name = row["service_tier"].lower()
    return Tier("" if name in STANDARD_NAMES else name, tuple(amounts), other)


def _joined(one: Tier, other: Tier) -> Tier:
    """Two spellings of one tier."""
    amounts = tuple(a.plus(b) for a, b in zip(one.amounts, other.amounts, strict=True))
    return Tier(one.name, amounts, EXACT.add(one.other_usd, other.other_usd))


@lru_cache(maxsize=64)
def _statement(name: str, by: str, where: tuple[str, ...], source: Source | None) -> bytes:
    groups = [group(by), sql.Identifier("provider"), sql.Identifier("model")]
    conditions, _ = narrowed(dict.fromkeys(where, ""))
    return (
        sql.SQL(_SQL[name])
        .format(
            labels=label_columns(groups),
            groups=sql.SQL(", ").join(groups),
            where=conditions,
            **(source.braces if source else {}),
        )
        .as_bytes(None)
    )


def _check(request: WhyRequest) -> None:
    if request.by in BUCKETS:
        names = ", ".join(name for name in dimension_names() if name not in BUCKETS)
        raise InvalidRequestError(
            f"cannot compare by {request.by!r}: the two periods have none in common; use one of "
            f"{names}"
        )
    group(request.by)


def _removed(totals: Report, before: Cells, after: Cells) -> list[Contribution]:
    """The costs of both periods that no cell has: retention dropped the calls, not their sums."""
    now = EXACT.subtract(totals.totals.cost_usd, total_usd(after))
    earlier = EXACT.subtract(totals.totals.previous_cost_usd or _ZERO, total_usd(before))
    if not now and not earlier:
        return []
    return [("removed", Driver("", "", "", "", EXACT.subtract(now, earlier)))]


def _notes(
    request: WhyRequest, totals: Report, *, is_detailed: bool, is_known: bool
) -> tuple[str, ...]:
    """What the causes leave out."""
    notes: list[str] = []
    if not is_known:
        notes.append(
            "the cost of no call of one of the periods is known, so there is no difference"
        )
    elif totals.coverage.without_cost or (totals.previous and totals.previous.without_cost):
        notes.append("calls without a known cost are in no figure except the number of calls")
    if is_known and not is_detailed:
        parts = "output share, cache share, service tier and price"
        if request.by in NOT_SPLIT_BY_MODEL:
            parts = f"models, {parts}"
        notes.append(
            f"the cost per token is not split into {parts}, because that reads every call: the "
            "option 'detail' does"
        )
    return tuple(notes)
