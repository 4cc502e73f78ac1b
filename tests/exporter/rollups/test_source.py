"""The roll-ups give the same answers as the rows; queries they cannot answer read the rows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tokenledger_exporter.db.connection import reading
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries import paging, report, summaries
from tokenledger_exporter.queries.over_time import trends
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.rollups.source import ROWS, source_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.rollups.source import Source

NOW: Final = datetime.now(timezone.utc)
# Some rows are rolled up and some are not; some of the latter are in hours without slices.
ROWS_OF: Final = """
SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date);
INSERT INTO token_ledger_events (
    timestamp, provider, model, user_id, feature, session_id, input_tokens, output_tokens,
    total_tokens, cost_usd, cost_status, status, settled, metadata
)
SELECT
    now() - number * interval '%(minutes)s minutes', 'p' || number %% 2, 'm' || number %% 3,
    'u' || number %% 4, 'f' || number %% 2, 's' || number %% 5, number, 1, number + 1,
    CASE WHEN number %% 7 <> 0 THEN number * 0.01 END,
    CASE WHEN number %% 7 <> 0 THEN 'priced' ELSE 'unmeasured' END,
    CASE WHEN number %% 5 = 0 THEN 'error' ELSE 'success' END, number %% 11 <> 0,
    jsonb_build_object('tier', 't' || number %% 2)
FROM generate_series(0, %(last)s) AS number
"""
NAMES: Final = (
    *("provider", "model", "user", "feature", "session", "team", "metadata.tier"),
    *("hour", "day", "month"),
)
VALUES: Final = {"provider": "p1", "model": "m0", "user": "u1", "feature": "f0", "session": "s1"}
ZONES: Final = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Auckland")
TIMESTAMP: Final = st.one_of(
    st.integers(0, 60 * 24 * 20).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    st.sampled_from([NOW + timedelta(minutes=1), NOW + timedelta(days=2)]),
    st.integers(0, 20).map(
        lambda days: NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    ),
)


@pytest.fixture
def connection(database_url: str) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as filling:
        filling.execute(
            ROWS_OF.replace("%(minutes)s", "97")
            .replace("%(last)s", "300")
            .replace("%%", "%")
            .encode()
        )
        refresh.refresh(filling)
        filling.execute(
            ROWS_OF.replace("%(minutes)s", "411")
            .replace("%(last)s", "9")
            .replace("%%", "%")
            .encode()
        )
    with reading(database_url) as opened:
        yield opened


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    by=st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
    where=st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True),
    ends=st.tuples(TIMESTAMP, TIMESTAMP).map(sorted),
    zone=st.sampled_from(ZONES),
    order=st.sampled_from(["cost_usd", "calls"]),
    limit=st.sampled_from([report.EVERYTHING, 1_000, 2]),
)
@example(
    by=["user", "hour"],
    where=[],
    ends=[NOW - timedelta(days=3), NOW],
    zone="UTC",
    order="cost_usd",
    limit=1_000,
)
def test_a_report_from_roll_ups_equals_one_from_rows(  # noqa: PLR0913 - one argument per option
    connection: psycopg.Connection[Any],
    *,
    by: list[str],
    where: list[str],
    ends: list[datetime],
    zone: str,
    order: str,
    limit: int,
) -> None:
    request = ReportRequest(
        by,
        ends[0],
        ends[1],
        where={name: VALUES[name] for name in where},
        zone=zone,
        order_by=order,
        limit=limit,
    )

    def rows_only(*_args: object, **_kwargs: object) -> Source:
        return ROWS

    from_roll_ups = run_steps(connection, report_steps(request))
    with mock.patch.object(report, "source_of", rows_only):
        assert from_roll_ups == run_steps(connection, report_steps(request))


@pytest.mark.parametrize(("limit", "users"), [(3, 3), (4, 4), (9, 4)])
def test_one_statement_returns_the_top_users_and_the_total(
    connection: psycopg.Connection[Any], limit: int, users: int
) -> None:
    request = ReportRequest(
        ["user"], NOW - timedelta(days=15), NOW + timedelta(minutes=1), limit=limit
    )
    plan = report_steps(request)
    step = next(plan)
    with connection.cursor(row_factory=step.row_factory) as cursor:
        rows = cursor.execute(step.statement, step.values).fetchall()
    assert [row["is_total"] for row in rows] == [False] * users + [True]
    with pytest.raises(StopIteration) as stop:
        plan.send(rows)

    def rows_only(*_args: object, **_kwargs: object) -> Source:
        return ROWS

    with mock.patch.object(report, "source_of", rows_only):
        assert stop.value.value == run_steps(connection, report_steps(request))


@pytest.mark.parametrize("zone", ZONES)
def test_trends_errors_and_aggregates_from_roll_ups_equal_those_from_rows(
    connection: psycopg.Connection[Any], zone: str
) -> None:
    def answers() -> list[object]:
        period = paging.CallFilter(NOW - timedelta(days=9), None, {"feature": "f1"})
        return [
            run_steps(connection, trends.daily_steps(15, zone, {"user": ["u1", "u2"]})),
            run_steps(connection, trends.hourly_steps(50, zone, None)),
            run_steps(connection, summaries.errors_steps(summaries.last_days(9))),
            run_steps(connection, paging.aggregate_steps(period, "day", paging.METRICS, zone)),
            run_steps(
                connection, paging.aggregate_steps(paging.CallFilter(), "none", ["sum_cost"], zone)
            ),
        ]

    def rows_only(*_args: object, **_kwargs: object) -> Source:
        return ROWS

    until = NOW + timedelta(minutes=1)
    with (
        mock.patch.object(summaries, "until_now", return_value=until),
        mock.patch.object(trends, "until_now", return_value=until),
    ):
        from_roll_ups = answers()
        with (
            mock.patch.object(summaries, "source_of", rows_only),
            mock.patch.object(paging, "source_of", rows_only),
        ):
            assert from_roll_ups == answers()


@pytest.mark.parametrize(
    ("names", "is_rolled_up"),
    [
        ((), True),
        (("provider", "model", "day"), True),
        (("feature", "model", "hour"), True),
        (("user",), True),
        (("user", "day"), True),
        (("user", "model"), False),
        (("feature", "team"), False),
        (("session",), False),
        (("metadata.tier",), False),
    ],
    ids=str,
)
def test_a_query_reads_a_roll_up_if_one_can_answer_it(
    names: tuple[str, ...], is_rolled_up: bool
) -> None:
    since, until = NOW - timedelta(days=3), NOW
    assert (source_of(names, since, until) is not ROWS) == is_rolled_up
    assert source_of(names, until - timedelta(minutes=50), until) is ROWS
    by_day = {*names, "day"}
    assert source_of(by_day, since, until, "Asia/Kathmandu") is ROWS
    assert (source_of(by_day, since, until, "Europe/Berlin") is not ROWS) == is_rolled_up
