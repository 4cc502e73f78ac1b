"""Trends, errors, latency, savings, projection, comparison, pages and aggregates, exactly."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
import pytest

from support.ledger_rows import ask, chat_attributes, row
from support.otlp_service import until
from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries
from tokenledger_exporter.queries.over_time.trends import hour_starts
from tokenledger_exporter.queries.paging import METRICS
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

ROWS: Final = """
SELECT token_ledger_add_partitions((now() - interval '3 months')::date, now()::date);
INSERT INTO token_ledger_events (
    timestamp, provider, model, operation, project, user_id, cost_status, cost_usd, input_tokens,
    output_tokens, total_tokens, status, error_type, duration_ms, time_to_first_token_ms, metadata
)
VALUES
    (now(), 'openai', 'gpt-4o', 'chat', 'web', 'u1', 'priced', 0.1, 10, 1, 11,
     'success', '', 100, 10, '{"tier": "gold"}'),
    (now(), 'openai', 'gpt-4o', 'chat', 'web', 'u2', 'priced', 0.6, 20, 2, 22,
     'success', '', 200, NULL, '{}'),
    (now() - interval '3 days', 'anthropic', 'opus', 'chat', 'batch', 'u1', 'estimated', 7, 30, 3,
     33, 'error', 'timeout', 300, 30, '{"tier": "gold"}'),
    (now() - interval '9 days', 'openai', 'ada', 'embeddings', 'web', 'u1', 'priced', 0.25, 40, 0,
     40, 'success', '', NULL, NULL, '{}'),
    (now() - interval '9 days', 'openai', 'gpt-4o', 'chat', 'gone', 'u3', 'priced', 0.5, 5, 5,
     10, 'success', '', 400, NULL, '{}'),
    (now(), 'openai', 'acme', 'chat', '', '', 'unpriced', NULL, 1, 1, 2,
     'error', 'timeout', 500, NULL, '{}');
INSERT INTO token_ledger_losses (reason, records) VALUES ('full disk', 4);
"""


@pytest.fixture
def queries(database_url: str) -> TokenLedgerQueries:
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS.encode())
    return TokenLedgerQueries(database_url)


def test_a_summary_can_be_filtered_by_user_model_or_any_dimension(
    queries: TokenLedgerQueries,
) -> None:
    assert queries.get_cost_summary(days=30, user_id="u1").total_cost == Decimal("7.35")
    assert queries.get_cost_summary(30, model="gpt-4o", app_name="").total_cost == Decimal("1.2")
    gold = queries.get_cost_summary(30, where={"metadata.tier": "gold"})
    assert (gold.total_cost, gold.total_requests) == (Decimal("7.1"), 2)
    assert gold.avg_cost_per_request == Decimal("3.55")
    assert gold.avg_tokens_per_request == Decimal(22)
    assert gold.coverage.estimated == 1
    either = queries.get_cost_summary(30, where={"user": ["u2", "u3"], "provider": "openai"})
    assert either.total_cost == Decimal("1.1")


def test_groups_are_sorted_by_the_requested_key(queries: TokenLedgerQueries) -> None:
    report = queries.get_costs_by("project", days=30, order_by="calls")
    assert [(group.labels, group.calls) for group in report.rows] == [
        (("web",), 3),
        (("",), 1),
        (("batch",), 1),
        (("gone",), 1),
    ]
    assert report.coverage.lost == 4
    with pytest.raises(
        InvalidRequestError, match=r"unknown sort key 'cost; DROP'; use one of cost_usd, calls"
    ):
        queries.get_costs_by("project", order_by="cost; DROP")


def test_a_trend_has_every_day(queries: TokenLedgerQueries) -> None:
    trend = queries.get_daily_trend(days=10, timezone="Pacific/Auckland")
    today = datetime.now(ZoneInfo("Pacific/Auckland")).date()
    assert [day.date for day in trend] == [today - timedelta(days=ago) for ago in range(9, -1, -1)]
    assert [str(day.total_cost) for day in trend if day.total_requests] == ["0.75", "7", "0.7"]
    assert len(trend) == 10
    assert (trend.coverage.calls, trend.coverage.lost) == (6, 4)


def test_a_trend_has_every_hour(queries: TokenLedgerQueries) -> None:
    trend = queries.get_hourly_costs(hours=24, timezone="Asia/Kathmandu")
    hours = [bucket.hour for bucket in trend]
    assert {hour.minute for hour in hours} == {0}
    assert {after - before for before, after in pairwise(hours)} == {timedelta(hours=1)}
    assert sum(bucket.total_cost for bucket in trend) == Decimal("0.7")


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        # The clocks go back by half an hour, so one hour is repeated in part.
        ("Australia/Lord_Howe", date(2026, 4, 5), 25),
        ("Asia/Kathmandu", date(2026, 4, 5), 24),
    ],
    ids=str,
)
def test_hours_start_where_postgres_truncates_them(
    database_url: str, zone: str, day: date, hours: int
) -> None:
    local = ZoneInfo(zone)
    since = datetime.combine(day, time(), local).astimezone(timezone.utc)
    after = datetime.combine(day + timedelta(days=1), time(), local)
    until = after.astimezone(timezone.utc) - timedelta(minutes=1)
    with psycopg.connect(database_url) as connection:
        expected = connection.execute(
            "SELECT DISTINCT date_trunc('hour', minute, %(zone)s) FROM generate_series("
            "%(since)s::timestamptz, %(until)s::timestamptz, interval '1 minute') AS minute",
            {"zone": zone, "since": since, "until": until},
        ).fetchall()
    starts = list(hour_starts(since, until, local))
    assert set(starts) == {start for (start,) in expected}
    assert len(starts) == hours


def test_an_unknown_zone_or_invalid_period_is_refused(queries: TokenLedgerQueries) -> None:
    for method in (queries.get_daily_trend, queries.get_daily_costs, queries.get_hourly_costs):
        with pytest.raises(InvalidRequestError, match=r"unknown time zone 'Mars/Olympus'"):
            method(timezone="Mars/Olympus")
    with pytest.raises(InvalidRequestError, match="hours must be 1 to 87,840, not 0"):
        queries.get_hourly_costs(0)
    with pytest.raises(InvalidRequestError, match="days must be 1"):
        queries.get_daily_trend(10**9)
    for days in ("x", 1.5, True):
        with pytest.raises(InvalidRequestError, match=f"days must be a whole number, not {days!r}"):
            queries.get_cost_summary(days=days)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_utc_needs_no_time_zone_data(
    queries: TokenLedgerQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slim containers have no time zone data."""

    def no_data(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("tokenledger_exporter.db.dimensions.ZoneInfo", no_data)
    assert len(queries.get_daily_trend(days=3)) == 3
    assert len(queries.aggregate("day")) == 3
    with pytest.raises(InvalidRequestError, match="pip install tzdata"):
        queries.get_daily_trend(timezone="Europe/Berlin")


def test_errors_are_counted_and_sorted_by_frequency(queries: TokenLedgerQueries) -> None:
    rate = queries.get_error_rate(days=30)
    assert (rate.total_requests, rate.errors, rate.error_rate) == (6, 2, 2 / 6)
    assert (rate.coverage.unpriced, rate.coverage.lost) == (1, 4)
    top = [(e.error_type, e.model, e.count, e.total_cost) for e in queries.get_top_errors(30)]
    assert top == [("timeout", "opus", 1, Decimal(7)), ("timeout", "acme", 1, Decimal(0))]
    assert queries.get_error_rate(1).errors == 1


def test_percentiles_are_computed_over_measured_calls(queries: TokenLedgerQueries) -> None:
    latency = queries.get_latency_percentiles(days=30)
    # For 100, 200, 300, 400, 500 the 95th percentile is 4/5 of the way from fourth to fifth.
    assert (latency.duration.requests, latency.duration.avg) == (5, 300.0)
    assert (latency.duration.p50, latency.duration.p95) == (300.0, 480.0)
    first = latency.time_to_first_token
    assert (first.requests, first.p50) == (2, 20.0)
    assert first.p99 == pytest.approx(29.8)
    empty = queries.get_latency_percentiles(days=30, where={"user": "unknown"})
    assert (empty.duration.requests, empty.duration.p50, empty.coverage.calls) == (0, None, 0)


def test_savings_are_the_difference_to_the_uncached_price(database_url: str) -> None:
    cached = chat_attributes() | {attributes.CACHE_READ_TOKENS: 800}
    writer = BatchWriter(database_url)
    writer.write([row(cached), row(), row(cached | {attributes.REQUEST_MODEL: "acme-7b"})])
    writer.close()
    savings = TokenLedgerQueries(database_url).get_cache_savings()
    # gpt-4o: 2.50 per million uncached, 1.25 cached; acme-7b has no price.
    assert savings.cached_cost_usd == 800 * Decimal("1.25") / 1_000_000
    assert savings.uncached_cost_usd == 800 * Decimal("2.50") / 1_000_000
    assert savings.savings_usd == Decimal("0.001")
    assert savings.tokens_without_price == 800
    assert savings.hit_rate == 1_600 / 3_000
    assert savings.coverage.unpriced == 1


def test_savings_of_long_calls_use_the_long_context_price(database_url: str) -> None:
    long_call = chat_attributes() | {
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: "claude-sonnet-4-5",
        attributes.INPUT_TOKENS: 300_000,
        attributes.CACHE_READ_TOKENS: 100_000,
    }
    writer = BatchWriter(database_url)
    writer.write([row(long_call)])
    writer.close()
    savings = TokenLedgerQueries(database_url).get_cache_savings()
    [(usd, per)] = ask(
        database_url,
        "SELECT usd, per FROM token_ledger_prices JOIN token_ledger_events USING (price_id)"
        " WHERE kind = 'input' AND above_input_tokens < input_tokens"
        " ORDER BY above_input_tokens DESC LIMIT 1",
    )
    assert savings.uncached_cost_usd == 100_000 * usd / per
    assert savings.savings_usd > 0


def test_a_month_is_projected_from_a_week_and_names_the_method(queries: TokenLedgerQueries) -> None:
    month = queries.get_projected_monthly_cost()
    assert month.cost_usd == Decimal("7.7") * 30 / 7
    assert month.method == "average of the last 7 days x 30"
    assert (month.based_on.total_requests, month.coverage.estimated) == (4, 1)
    assert queries.get_projected_monthly_cost(where={"user": "u3"}).cost_usd == 0


def test_a_comparison_has_the_groups_of_both_periods(queries: TokenLedgerQueries) -> None:
    report = queries.compare_costs("project", days=7)
    assert [(group.labels[0], group.cost_usd, group.change_usd) for group in report.rows] == [
        ("batch", Decimal(7), Decimal(7)),
        ("web", Decimal("0.7"), Decimal("0.45")),
        # Its only call has no price, so the change is not known.
        ("", Decimal(0), None),
        ("gone", Decimal(0), Decimal("-0.5")),
    ]
    assert report.totals.previous_cost_usd == Decimal("0.75")
    assert report.previous is not None
    assert (report.previous.calls, report.previous.lost) == (2, 0)
    assert len(queries.compare_costs("project", days=7, limit=2).rows) == 2
    with pytest.raises(InvalidRequestError, match="cannot compare by 'day'"):
        queries.compare_costs("day")


def test_aggregates_count_sum_and_average(queries: TokenLedgerQueries) -> None:
    metrics = ["count_requests", "sum_total", "avg_total_per_request", "sum_cost"]
    groups = queries.aggregate("project_and_type", metrics)
    assert [(group.groups["project"], group.groups["operation"]) for group in groups] == [
        ("", "chat"),
        ("batch", "chat"),
        ("gone", "chat"),
        ("web", "chat"),
        ("web", "embeddings"),
    ]
    assert groups[3].metrics == {
        "count_requests": 2,
        "sum_total": 33,
        "avg_total_per_request": Decimal("16.5"),
        "sum_cost": Decimal("0.7"),
    }
    assert groups[0].coverage.unpriced == 1
    [whole] = queries.aggregate("none", ["count_requests"], time_to=datetime.now(timezone.utc))
    assert whole.metrics == {"count_requests": 6}
    assert len(queries.aggregate("day")) == 3
    with pytest.raises(InvalidRequestError, match=r"unknown metric 'sum_joy'; use sum_input"):
        queries.aggregate("day", ["sum_joy"])


def test_pages_have_every_call_once_during_concurrent_writes(
    queries: TokenLedgerQueries, database_url: str
) -> None:
    [(expected,)] = ask(
        database_url,
        "SELECT array_agg(event_id ORDER BY timestamp, event_id) FROM token_ledger_events",
    )
    seen: list[UUID] = []
    cursor: str | None = None
    while True:
        page = queries.fetch_raw(limit=1, cursor=cursor)
        seen += [event.event_id for event in page.events]
        assert page.coverage.calls == 1
        cursor = page.next_cursor
        if cursor is None:
            break
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO token_ledger_events (timestamp, provider, model)"
                " VALUES (now() - interval '40 days', 'late', 'late')"
            )
    assert seen == expected


_QUERIES: Final[tuple[Callable[[TokenLedgerQueries], object], ...]] = (
    lambda queries: queries.get_cost_summary(30, user_id="u1"),
    lambda queries: queries.get_costs_by_model(),
    lambda queries: queries.get_costs_by_user(limit=2),
    lambda queries: queries.get_costs_by("metadata.tier", "user", where={"project": "web"}).rows,
    lambda queries: queries.get_daily_costs(timezone="Asia/Kolkata"),
    lambda queries: queries.get_error_rate(),
    lambda queries: queries.get_top_errors(),
    lambda queries: queries.get_latency_percentiles(),
    lambda queries: queries.aggregate("project_and_type", METRICS),
    lambda queries: queries.fetch_raw(limit=2),
)


@pytest.mark.parametrize("query", _QUERIES, ids=range(len(_QUERIES)))
def test_prepared_statements_give_the_same_answers(
    queries: TokenLedgerQueries, database_url: str, query: Callable[[TokenLedgerQueries], object]
) -> None:
    with TokenLedgerQueries(database_url, prepare=True) as prepared:
        assert query(prepared) == query(prepared) == query(queries)


_CALLS_OF_A_PAGE: Final = 100
_READ: Final = (
    "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_user_tables"
    " WHERE relname LIKE 'token_ledger_events_%'"
)


def _rows_read(database_url: str) -> int:
    [(count,)] = ask(database_url, _READ)
    return int(count)


@pytest.mark.parametrize("bounded", [False, True], ids=["all", "between two timestamps"])
def test_a_page_reads_only_one_row_more_than_it_returns(
    database_url: str, *, bounded: bool
) -> None:
    ask(
        database_url,
        "WITH written AS (INSERT INTO token_ledger_events (timestamp, provider, model)"
        " SELECT now() + n * interval '1 ms', 'p', 'm' FROM generate_series(1, 3000) AS n"
        " RETURNING 1) SELECT count(*) FROM written",
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE token_ledger_events")
    since, to = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)
    period = (since, to) if bounded else (None, None)
    before = _rows_read(database_url)
    with TokenLedgerQueries(database_url, prepare=True) as queries:
        cursor = None
        for _ in range(3):
            page = queries.fetch_raw(
                time_from=period[0], time_to=period[1], limit=_CALLS_OF_A_PAGE, cursor=cursor
            )
            cursor = page.next_cursor
            assert len(page.events) == _CALLS_OF_A_PAGE
    # A session reports its reads when it ends.
    until(lambda: _rows_read(database_url) > before)
    # Each page reads one row more, to know whether there is a next one.
    assert _rows_read(database_url) - before <= 3 * (_CALLS_OF_A_PAGE + 1)


def test_pages_can_be_filtered_by_project_type_and_time(queries: TokenLedgerQueries) -> None:
    page = queries.fetch_raw(project="web", request_type="chat")
    assert [event.user_id for event in page.events] in (["u1", "u2"], ["u2", "u1"])
    assert {(event.project_name, event.request_type) for event in page.events} == {("web", "chat")}
    assert page.next_cursor is None
    before = datetime.now(timezone.utc) - timedelta(days=1)
    assert len(queries.fetch_raw(time_from=before).events) == 3
    assert len(queries.fetch_raw(time_to=before.replace(tzinfo=None)).events) == 3


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "é", "bnVsbA==", "WzEsMl0=", "WyIyMDI2LTAxLTAxIiwgIjAwIl0="],
)
def test_an_invalid_cursor_is_refused(queries: TokenLedgerQueries, cursor: str) -> None:
    with pytest.raises(InvalidRequestError, match="cursor"):
        queries.fetch_raw(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_an_invalid_limit_is_refused(queries: TokenLedgerQueries, limit: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(limit)):
        queries.fetch_raw(limit=limit)


METHODS: Final[dict[str, Callable[..., object]]] = {
    name: method
    for name, method in vars(TokenLedgerQueries).items()
    if name.startswith(("get_", "compare_", "aggregate"))
}


TOTALS: Final = {"get_costs_by": "totals", "compare_costs": "totals", "get_runs": "total"}


@pytest.mark.usefixtures("queries")
@pytest.mark.parametrize("name", METHODS)
def test_the_async_client_gives_the_same_answers(database_url: str, name: str) -> None:
    words = ("user",) if name in {"get_costs_by", "compare_costs"} else ()
    with TokenLedgerQueries(database_url) as one:
        expected = getattr(one, name)(*words)

    async def answers() -> tuple[object, object]:
        alone = await getattr(AsyncTokenLedgerQueries(database_url), name)(*words)
        async with AsyncTokenLedgerQueries(database_url) as shared:
            return alone, await getattr(shared, name)(*words)

    for answer in asyncio.run(answers()):
        if name in TOTALS:
            # The start of the period differs, as the clock goes on.
            assert getattr(answer, TOTALS[name]) == getattr(expected, TOTALS[name])
        else:
            assert answer == expected


def test_coroutines_share_one_connection_in_turn(database_url: str) -> None:
    async def many() -> list[int]:
        async with AsyncTokenLedgerQueries(database_url) as shared:
            pages = await asyncio.gather(*(shared.fetch_raw() for _ in range(20)))
            summaries = await asyncio.gather(*(shared.get_cost_summary() for _ in range(20)))
        return [len(page.events) for page in pages] + [s.total_requests for s in summaries]

    assert asyncio.run(many()) == [0] * 40


def test_an_async_query_of_an_unreachable_database_names_the_host() -> None:
    queries = AsyncTokenLedgerQueries("postgresql://u:secret@127.0.0.1:1/x")
    with pytest.raises(DatabaseUnreachableError, match=r"127\.0\.0\.1:1/x") as caught:
        asyncio.run(queries.get_cost_summary())
    assert "secret" not in str(caught.value)


def test_every_dimension_groups_and_filters_consistently(queries: TokenLedgerQueries) -> None:
    """Filtering by each value of a grouping gives the cost of that group."""
    for name in (*(dimension.name for dimension in DIMENSIONS), "metadata.tier"):
        report = queries.get_costs_by(name)
        assert sum(group.cost_usd for group in report.rows) == report.totals.cost_usd
        groups = {group.groups[name]: group for group in queries.aggregate(name, ["sum_cost"])}
        for group in report.rows:
            summary = queries.get_cost_summary(where={name: group.labels[0]})
            assert summary.total_cost == group.cost_usd, name
            assert groups[group.labels[0]].metrics["sum_cost"] == group.cost_usd
            assert len(queries.fetch_raw(where={name: group.labels[0]}).events) == group.calls


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "for a pooler"])
def test_statements_are_prepared_only_if_requested(database_url: str, *, prepare: bool) -> None:
    """A transaction pooler may run a statement in a session that did not prepare it."""
    url = f"{database_url}?application_name=asks"

    async def ask_again() -> int:
        async with AsyncTokenLedgerQueries(url, prepare=prepare) as shared:
            return sum([len((await shared.fetch_raw()).events) for _ in range(8)])

    with TokenLedgerQueries(url, prepare=prepare) as shared:
        for _ in range(8):
            shared.fetch_raw()
        [(plans,)] = ask_on(shared, "SELECT count(*) FROM pg_prepared_statements")
    assert (plans > 0) is prepare
    assert asyncio.run(ask_again()) == 0


def ask_on(queries: TokenLedgerQueries, question: str) -> list[tuple[int]]:
    """The rows of a query in the client's own session."""
    connection = queries._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    assert connection is not None
    return connection.execute(question.encode()).fetchall()
