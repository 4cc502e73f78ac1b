"""Reports: cost by any dimensions over a period, with their coverage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import (
    BUCKETS,
    UTC,
    by_name,
    group,
    label_columns,
    narrowed,
    narrowing_values,
    plain_where,
    zone_of,
)
from tokenledger_exporter.db.steps import Statement, run_steps
from tokenledger_exporter.domain.coverage import Coverage, coverage_of, sum_coverage
from tokenledger_exporter.domain.preceding import preceding_period
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.notebook import NotebookResult, group_record
from tokenledger_exporter.queries.order import BY_TIME, ORDERS, check_order, order_terms
from tokenledger_exporter.queries.results import cost_text
from tokenledger_exporter.rollups.source import ROWS, source_of
from tokenledger_exporter.sql import fragment, statements
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    import psycopg

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.notebook import Record
    from tokenledger_exporter.rollups.source import Source

_SQL: Final = statements("queries")
_ZERO: Final = Decimal(0)
_ORGANIZATION: Final = "organization"

SCHEMA_VERSION: Final = 1
"""Version of a report's JSON."""

OLD_PRICES: Final = timedelta(days=30)
"""Age from which a price book that was not updated is reported as old."""

EVERYTHING: Final = 1_000_000
"""A limit above the number of groups of any report."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group: its labels, its cost in US dollars and its counts.

    Args:
        labels: the values of the dimensions, in the requested order.
        cost_usd: the known costs; 0 if no call has one, see `known_cost_usd`.
        previous_cost_usd: its cost in the preceding period; `None` without a comparison.
        previous_coverage: its coverage in the preceding period; `None` without a comparison.
    """

    labels: tuple[str, ...]
    cost_usd: Decimal
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    coverage: Coverage
    previous_cost_usd: Decimal | None = None
    previous_coverage: Coverage | None = None

    @property
    def known_cost_usd(self) -> Decimal | None:
        """Its cost; `None` if it has calls and the cost of none is known."""
        return None if self.coverage.knows_no_cost else self.cost_usd

    @property
    def cost_text(self) -> str:
        """The cost to print: `$0.0016`, `$0.0016+` if calls are missing from it, or `unknown`."""
        return cost_text(self.cost_usd, self.coverage)

    @property
    def known_previous_cost_usd(self) -> Decimal | None:
        """The same of the preceding period."""
        coverage = self.previous_coverage
        return None if coverage and coverage.knows_no_cost else self.previous_cost_usd

    @property
    def change_usd(self) -> Decimal | None:
        """How much more it cost than in the preceding period; `None` if either is not known."""
        now, before = self.known_cost_usd, self.known_previous_cost_usd
        return None if now is None or before is None else now - before


@dataclass(frozen=True, slots=True)
class Report(NotebookResult):
    """Groups, highest cost first, and their total over the period.

    Args:
        as_of: the report shows the ledger as it was at this time; `None` means now.
        as_if: the model whose prices are applied to all calls; "" means each call's own model.
        notes: what a reader must know about the figures, a sentence each.
        zone: time zone of hours, days and months.
        where: its filters. `lost` counts all losses of the operator's own sources, because lost
            calls have no attribution, and the losses of the requested tenants.
        compared_since: start of the preceding period; `None` without a comparison.
        compared_until: its end.
        previous: coverage of the preceding period.
    """

    by: tuple[str, ...]
    since: datetime
    until: datetime
    rows: tuple[ReportRow, ...]
    totals: ReportRow
    as_of: datetime | None = None
    as_if: str = ""
    notes: tuple[str, ...] = ()
    zone: str = UTC
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    compared_since: datetime | None = None
    compared_until: datetime | None = None
    previous: Coverage | None = None

    @property
    def coverage(self) -> Coverage:
        """Coverage of every call in the period."""
        return self.totals.coverage

    def to_records(self) -> list[Record]:
        """One flat dict for each row; without rows, the total."""
        return [group_record(self.by, row) for row in self.rows or (self.totals,)]


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A request for a report.

    Args:
        by: dimension names, `metadata.<key>`, or `hour`, `day`, `month`; empty means the total
            only. Repeated names count once.
        since: start, included, with a time zone.
        until: end, excluded, with a time zone.
        limit: maximum number of groups; the total always covers all.
        as_of: use the rows known at that time, at their cost then; `None` means now.
        where: filters; each dimension must have one of its values.
        zone: time zone of hours, days and months, by its IANA name.
        order_by: a sort key of `queries.order`.
    """

    by: Sequence[str]
    since: datetime
    until: datetime
    limit: int = EVERYTHING
    as_of: datetime | None = None
    where: Where | None = None
    zone: str = UTC
    order_by: str = ORDERS[0]

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", [dimension_name(name) for name in self.by])
        object.__setattr__(self, "where", by_name(self.where) if self.where else None)
        object.__setattr__(self, "order_by", dimension_name(self.order_by))


def build_report(connection: psycopg.Connection[Any], request: ReportRequest) -> Report:
    """Build a report.

    Raises:
        InvalidRequestError: a dimension, time zone or sort key is unknown; the message lists the
            valid ones. Or the period ends before it starts.
    """
    return run_steps(connection, report_steps(request))


def report_steps(request: ReportRequest) -> Steps[Report]:
    """The steps of `build_report`."""
    by, groups = checked_groups(request)
    records = (yield _groups(request, by)) if groups else []
    rows = [_row(record, len(by)) for record in records if not record.get("is_total")]
    if len(rows) < len(records):
        total = _row(records[-1], 0)
    elif not records or len(rows) >= request.limit:
        records = yield _groups(request, ())
        total = _row(records[0], 0)
    else:
        # All groups are here, so no second query over the newest calls is needed.
        total = _sum(rows)
    notes = (*_notes(records[0]["checked_on"]), *_uncounted_notes(records[0]))
    lost: int = records[0]["lost"]
    return Report(
        by=by,
        since=request.since,
        until=request.until,
        rows=tuple(rows),
        totals=replace(total, coverage=replace(total.coverage, lost=lost)),
        as_of=request.as_of,
        notes=notes,
        zone=request.zone,
        where=plain_where(request.where),
    )


def compared_steps(request: ReportRequest) -> Steps[Report]:
    """A report that compares each cost with that of the preceding period.

    A group that only had calls in the preceding period has a cost of 0.
    """
    if request.as_of is not None:
        raise InvalidRequestError("--as-of and --compare cannot be combined; use only one of them")
    if periods := [name for name in request.by if name in BUCKETS]:
        raise InvalidRequestError(
            f"cannot compare by {periods[0]!r}: the two periods have none in common; use another "
            "dimension"
        )
    now = yield from report_steps(request)
    since, until = preceding_period(request.since, request.until, zone_of(request.zone))
    earlier = replace(request, since=since, until=until, limit=EVERYTHING)
    before = yield from report_steps(earlier)
    earlier_rows = {row.labels: row for row in before.rows}
    rows = [_compared(row, earlier_rows.pop(row.labels, None)) for row in now.rows]
    if len(rows) < request.limit:
        ended = [_without_calls(row) for row in before.rows if row.labels in earlier_rows]
        rows += ended[: request.limit - len(rows)]
    return replace(
        now,
        rows=tuple(rows),
        totals=_compared(now.totals, before.totals),
        compared_since=since,
        compared_until=until,
        previous=before.coverage,
    )


def _sum(rows: Sequence[ReportRow]) -> ReportRow:
    """The total of all groups."""
    cost_usd = _ZERO
    for row in rows:
        cost_usd = MONEY.add(cost_usd, row.cost_usd)
    return ReportRow(
        labels=(),
        cost_usd=cost_usd,
        calls=sum(row.calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        coverage=sum_coverage([row.coverage for row in rows]),
    )


def _without_calls(row: ReportRow) -> ReportRow:
    """The row of a group that only had calls in the preceding period."""
    return _compared(ReportRow(row.labels, _ZERO, 0, 0, 0, 0, Coverage()), row)


def _compared(row: ReportRow, before: ReportRow | None) -> ReportRow:
    """The row with the cost of its group in the preceding period."""
    if before is None:
        return replace(row, previous_cost_usd=_ZERO, previous_coverage=Coverage())
    return replace(row, previous_cost_usd=before.cost_usd, previous_coverage=before.coverage)


def checked_groups(request: ReportRequest) -> tuple[tuple[str, ...], list[sql.Composable]]:
    """The dimensions, each once, and their SQL; raises as `build_report`."""
    if request.since > request.until:
        raise InvalidRequestError(
            f"the start {request.since.isoformat()} is after the end {request.until.isoformat()}"
        )
    names = tuple(dict.fromkeys(request.by))
    check_order(request.order_by, names)
    return names, [group(name, request.zone) for name in names]


def losses_steps(since: datetime, until: datetime) -> Steps[int]:
    """The number of records known to be lost in a period."""
    [row] = yield Statement(sql.SQL(_SQL["losses"]), {"since": since, "until": until})
    return int(row["records"])


def notes_steps() -> Steps[tuple[str, ...]]:
    """A sentence if the price book was not updated for too long."""
    [row] = yield Statement(sql.SQL(_SQL["price_age"]))
    return _notes(row["checked_on"])


def _notes(checked_on: date | None) -> tuple[str, ...]:
    if checked_on is None:
        return ()
    age = datetime.now(timezone.utc).date() - checked_on
    if age <= OLD_PRICES:
        return ()
    sentence = (
        f"the price book was last checked {checked_on}, {age.days} days ago: upgrade genai-prices "
        "and run 'tokenledger prices update'"
    )
    return (sentence,)


def _uncounted_notes(row: Mapping[str, Any]) -> Iterator[str]:
    """What a report does not count, a sentence each."""
    duplicates: Mapping[str, Any] = row["duplicate_totals"]
    if reports := duplicates["reports"]:
        cost = plain_usd(Decimal(duplicates["cost_usd"]))
        subject = "report of a call was" if reports == 1 else "reports of calls were"
        yield f"{reports:,} duplicate {subject} excluded: ${cost} is not counted twice"
    if lost := row["lost_of_tenants"]:
        subject = "record of a tenant was" if lost == 1 else "records of tenants were"
        yield f"{lost:,} {subject} lost: see token_ledger_organization_losses"


def _groups(request: ReportRequest, by: tuple[str, ...]) -> Statement:
    source, name = ROWS, "report_as_of"
    if request.as_of is None:
        name = "report"
        names = {*by, *(request.where or ())}
        source = source_of(names, request.since, request.until, request.zone)
        if (
            by == ("user",)
            and source.is_rolled_up
            and request.limit < EVERYTHING
            and not request.where
            and request.order_by in {*ORDERS, BY_TIME}
        ):
            name = "report_of_top_users"
    statement = _statement(
        name,
        source,
        by=by,
        where=tuple(request.where or ()),
        zone=request.zone,
        # Without hours, days or months, the order by time is that by cost.
        order_by=ORDERS[0]
        if name == "report_of_top_users" and request.order_by == BY_TIME
        else request.order_by,
    )
    lost_until = request.until if request.as_of is None else min(request.until, request.as_of)
    values: dict[str, object] = {
        "since": request.since,
        "until": request.until,
        "lost_until": lost_until,
        "limit": request.limit,
        "as_of": request.as_of,
        "organizations": list(plain_where(request.where).get(_ORGANIZATION, ())),
        **narrowing_values(request.where),
    }
    return Statement(statement, values, caches_plan=source.is_rolled_up)


@lru_cache(maxsize=256)
def _statement(  # noqa: PLR0913 - one argument per part of the statement
    name: str,
    source: Source,
    *,
    by: tuple[str, ...],
    where: tuple[str, ...],
    zone: str,
    order_by: str,
) -> bytes:
    """A report's SQL, by these groups and with filters on these dimensions."""
    groups = [group(dimension, zone) for dimension in by]
    conditions, _ = narrowed(dict.fromkeys(where, ""))
    braces: dict[str, sql.Composable] = {
        **source.braces,
        "labels": label_columns(groups),
        "where": conditions,
        "context": sql.SQL(fragment(_SQL["context"])),
        "order": order_terms(by, groups, order_by),
        "grouping": sql.SQL(""),
    }
    if name == "report_of_top_users":
        braces["order"] = sql.Identifier(order_by)
    if groups:
        braces["groups"] = sql.SQL(", ").join(groups)
        braces["grouping"] = sql.SQL(fragment(_SQL["grouping"])).format(**braces)
    return sql.SQL(_SQL[name]).format(**braces).as_bytes(None)


def _row(record: dict[str, Any], labels: int) -> ReportRow:
    return ReportRow(
        labels=tuple(str(record[f"label_{number}"]) for number in range(labels)),
        cost_usd=record["cost_usd"],
        calls=record["calls"],
        input_tokens=record["input_tokens"],
        output_tokens=record["output_tokens"],
        cached_tokens=record["cached_tokens"],
        coverage=coverage_of(record),
    )
