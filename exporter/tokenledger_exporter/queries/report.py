"""Cost by any dimensions over a stretch of time, with the coverage that says what is missing."""

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
    group,
    label_columns,
    narrowed,
    narrowing_values,
)
from tokenledger_exporter.db.steps import Question, ask
from tokenledger_exporter.domain.coverage import Coverage, coverage_of, sum_coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.rollups.source import ROWS, source_of
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    import psycopg

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Plan
    from tokenledger_exporter.rollups.source import Source

_SQL: Final = statements("queries")
_ZERO: Final = Decimal(0)
_ORGANIZATION: Final = "organization"

SCHEMA_VERSION: Final = 1
"""Version of the JSON a report prints."""

OLD_PRICES: Final = timedelta(days=30)
"""A price book not compared with its list for longer than this is said to be old."""

EVERYTHING: Final = 1_000_000
"""More groups than a report will ever have."""

ORDERS: Final = ("cost_usd", "calls", "input_tokens", "output_tokens", "cached_tokens")
"""What the groups of a report can be ordered by, the most first."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group: its labels in the order asked for, its money (US dollars) and its counts.

    Args:
        previous_cost_usd: its cost in the stretch before; `None` if nobody compared.
    """

    labels: tuple[str, ...]
    cost_usd: Decimal
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    coverage: Coverage
    previous_cost_usd: Decimal | None = None

    @property
    def change_usd(self) -> Decimal | None:
        """How much more it cost than in the stretch before; negative if less."""
        if self.previous_cost_usd is None:
            return None
        return self.cost_usd - self.previous_cost_usd


@dataclass(frozen=True, slots=True)
class Report:
    """Groups, dearest first, and their total over the whole stretch.

    Args:
        as_of: the time the ledger is looked at; `None` is now.
        as_if: the model whose prices stand in for each call's own; "" is none.
        notes: what a reader must know of the figures, a sentence each.
        zone: time zone of its hours, days and months.
        where: what it is narrowed to; `lost` counts every loss of the operator's own sources all
            the same, since nobody knows whose those calls were, and those of tenants asked for.
        compared_since: start of the stretch before, which ends at `since`; `None` if not compared.
        previous: coverage of that stretch.
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
    previous: Coverage | None = None

    @property
    def coverage(self) -> Coverage:
        """Coverage of every call in the stretch."""
        return self.totals.coverage


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to tell.

    Args:
        by: dimension names, `metadata.<key>`, or `hour`, `day`, `month`; none is the total, and a
            name said twice counts once.
        since: start, included, with a time zone.
        until: end, not included, with a time zone.
        limit: most groups to return; the total always covers all.
        as_of: rows known then, at the cost they had then; `None` is now.
        where: what to narrow it to; each dimension must have one of its values.
        zone: time zone of hours, days and months, by its IANA name.
        order_by: one of `ORDERS`.
    """

    by: Sequence[str]
    since: datetime
    until: datetime
    limit: int = EVERYTHING
    as_of: datetime | None = None
    where: Where | None = None
    zone: str = UTC
    order_by: str = ORDERS[0]


def build_report(connection: psycopg.Connection[Any], asked: Asked) -> Report:
    """Sum the ledger.

    Raises:
        UsageError: a dimension, time zone or order does not exist; the message lists those that do.
            Or the stretch ends before it starts.
    """
    return ask(connection, report_plan(asked))


def report_plan(asked: Asked) -> Plan[Report]:
    """As `build_report`, for any connection."""
    by, groups = checked_groups(asked)
    found = (yield _groups(asked, by)) if groups else []
    rows = [_row(told, len(by)) for told in found if not told.get("is_total")]
    if len(rows) < len(found):
        total = _row(found[-1], 0)
    elif not found or len(rows) >= asked.limit:
        found = yield _groups(asked, ())
        total = _row(found[0], 0)
    else:
        # Every group is here. What is newest is read as calls: not twice.
        total = _sum(rows)
    notes = (*_notes(found[0]["checked_on"]), *_notes_beside(found[0]))
    lost: int = found[0]["lost"]
    return Report(
        by=by,
        since=asked.since,
        until=asked.until,
        rows=tuple(rows),
        totals=replace(total, coverage=replace(total.coverage, lost=lost)),
        as_of=asked.as_of,
        notes=notes,
        zone=asked.zone,
        where=plain_where(asked.where),
    )


def compared_plan(asked: Asked) -> Plan[Report]:
    """The report beside the cost of the stretch before, which is as long.

    A group that had calls only then costs nothing now.
    """
    if asked.as_of is not None:
        raise InvalidRequestError(
            "what stood at an earlier time cannot be compared: leave as-of out"
        )
    if stretches := [name for name in asked.by if name in BUCKETS]:
        raise InvalidRequestError(
            f"{stretches[0]!r} is a stretch of time and is never in both: compare by others"
        )
    now = yield from report_plan(asked)
    try:
        since = asked.since - (asked.until - asked.since)
    except OverflowError:
        raise InvalidRequestError(
            "the stretch before leads to before the year 1: take less"
        ) from None
    earlier = replace(asked, since=since, until=asked.since, limit=EVERYTHING)
    before = yield from report_plan(earlier)
    costs = {row.labels: row.cost_usd for row in before.rows}
    here = [replace(row, previous_cost_usd=costs.pop(row.labels, _ZERO)) for row in now.rows]
    if len(here) < asked.limit:
        gone = [_nothing(row) for row in before.rows if row.labels in costs]
        here += gone[: asked.limit - len(here)]
    return replace(
        now,
        rows=tuple(here),
        totals=replace(now.totals, previous_cost_usd=before.totals.cost_usd),
        compared_since=since,
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


def _nothing(row: ReportRow) -> ReportRow:
    """A group of the stretch before that has no call in this one."""
    return ReportRow(row.labels, _ZERO, 0, 0, 0, 0, Coverage(), row.cost_usd)


def checked_groups(asked: Asked) -> tuple[tuple[str, ...], list[sql.Composable]]:
    """The dimensions, each once, and their SQL; raises as `build_report`."""
    if asked.since > asked.until:
        raise InvalidRequestError(
            f"the start {asked.since.isoformat()} is after the end {asked.until.isoformat()}: "
            "swap them"
        )
    if asked.order_by not in ORDERS:
        raise InvalidRequestError(
            f"{asked.order_by!r} is no order: take one of {', '.join(ORDERS)}"
        )
    names = tuple(dict.fromkeys(asked.by))
    return names, [group(name, asked.zone) for name in names]


def plain_where(where: Where | None) -> dict[str, tuple[str, ...]]:
    """Every value as one of several."""
    return {
        name: (given,) if isinstance(given, str) else tuple(given)
        for name, given in (where or {}).items()
    }


def losses_plan(since: datetime, until: datetime) -> Plan[int]:
    """Records known to be gone in a stretch."""
    [found] = yield Question(sql.SQL(_SQL["losses"]), {"since": since, "until": until})
    return int(found["records"])


def notes_plan() -> Plan[tuple[str, ...]]:
    """One sentence where the price book was last compared with its list too long ago."""
    [found] = yield Question(sql.SQL(_SQL["price_age"]))
    return _notes(found["checked_on"])


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


def _notes_beside(found: Mapping[str, Any]) -> Iterator[str]:
    """What is in no figure of a report, a sentence each."""
    again: Mapping[str, Any] = found["duplicate_totals"]
    if reports := again["reports"]:
        cost = plain_usd(Decimal(again["cost_usd"]))
        were = "report of a call was" if reports == 1 else "reports of calls were"
        yield f"{reports:,} duplicate {were} set aside: ${cost} that is not counted twice"
    if lost := found["lost_of_tenants"]:
        were = "record of a tenant was" if lost == 1 else "records of tenants were"
        yield f"{lost:,} {were} lost: see token_ledger_organization_losses"


def _groups(asked: Asked, by: tuple[str, ...]) -> Question:
    source, name = ROWS, "report_as_of"
    if asked.as_of is None:
        name = "report"
        names = {*by, *(asked.where or ())}
        source = source_of(names, asked.since, asked.until, asked.zone)
        if by == ("user",) and source.is_rolled_up and asked.limit < EVERYTHING and not asked.where:
            name = "report_of_top_users"
    statement = _statement(
        name,
        source,
        by=by,
        where=tuple(asked.where or ()),
        zone=asked.zone,
        order_by=asked.order_by,
    )
    lost_until = asked.until if asked.as_of is None else min(asked.until, asked.as_of)
    values: dict[str, object] = {
        "since": asked.since,
        "until": asked.until,
        "lost_until": lost_until,
        "limit": asked.limit,
        "as_of": asked.as_of,
        "organizations": list(plain_where(asked.where).get(_ORGANIZATION, ())),
        **narrowing_values(asked.where),
    }
    return Question(statement, values, keeps_plan=source.is_rolled_up)


@lru_cache(maxsize=256)
def _statement(  # noqa: PLR0913 - what a statement depends on, one argument each
    name: str,
    source: Source,
    *,
    by: tuple[str, ...],
    where: tuple[str, ...],
    zone: str,
    order_by: str,
) -> bytes:
    """A report by these groups, narrowed to values of these dimensions."""
    groups = [group(each, zone) for each in by]
    conditions, _ = narrowed(dict.fromkeys(where, ""))
    braces: dict[str, sql.Composable] = {
        **source.braces,
        "labels": label_columns(groups),
        "where": conditions,
        "context": sql.SQL(fragment(_SQL["context"])),
        "order": sql.Identifier(order_by),
        "grouping": sql.SQL(""),
    }
    if groups:
        braces["groups"] = sql.SQL(", ").join(groups)
        braces["grouping"] = sql.SQL(fragment(_SQL["grouping"])).format(**braces)
    return sql.SQL(_SQL[name]).format(**braces).as_bytes(None)


def _row(found: dict[str, Any], labels: int) -> ReportRow:
    return ReportRow(
        labels=tuple(str(found[f"label_{number}"]) for number in range(labels)),
        cost_usd=found["cost_usd"],
        calls=found["calls"],
        input_tokens=found["input_tokens"],
        output_tokens=found["output_tokens"],
        cached_tokens=found["cached_tokens"],
        coverage=coverage_of(found),
    )
