"""Any text may be a value, metadata key, order or cursor; results are checked against Python."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import TokenLedgerQueries

if TYPE_CHECKING:
    from collections.abc import Iterator

NASTY: Final = (
    *(
        "",
        "'",
        '"',
        "%",
        "%s",
        "%(since)s",
        "{}",
        "{where}",
        "\\",
        "$1",
        "--",
        "/*",
        "; DROP TABLE x",
    ),
    *("a' OR '1'='1", "\N{PILE OF POO}", "\u202e", "e\u0301", "\n", "x" * 5_000, "null", "{a,b}"),
)
TEXT: Final = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
# Text in a query may include what Postgres cannot store.
QUERY_TEXT: Final = st.one_of(TEXT, st.sampled_from(["\0", "a\0b", "\ud800", "x\udfff"]))
NOW: Final = datetime.now(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True)
class Call:
    """The columns of a row except its time."""

    feature: str
    key: str
    value: str
    cost_usd: Decimal | None


CALLS: Final = st.lists(
    st.builds(
        Call,
        feature=TEXT.map(lambda text: text[:255]),
        key=TEXT.filter(bool),
        value=TEXT,
        cost_usd=st.none() | st.decimals(0, 10, places=6, allow_nan=False),
    ),
    max_size=8,
)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        yield opened


def store(connection: psycopg.Connection[tuple[object, ...]], calls: list[Call]) -> None:
    connection.execute("TRUNCATE token_ledger_events")
    for call in calls:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, feature, metadata,"
            " cost_usd, cost_status) VALUES (%s, 'p', 'm', %s, %s::jsonb, %s, %s)",
            (
                NOW - timedelta(seconds=5),
                call.feature,
                json.dumps({call.key: call.value}),
                call.cost_usd,
                "unpriced" if call.cost_usd is None else "priced",
            ),
        )


def sums(calls: list[Call], key: str) -> dict[tuple[str, str], tuple[Decimal, int]]:
    """The expected sums: (feature, metadata value) -> cost and calls."""
    groups: defaultdict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.feature, call.value if call.key == key else ""].append(call)
    return {
        labels: (sum((c.cost_usd or Decimal(0) for c in group), Decimal(0)), len(group))
        for labels, group in groups.items()
    }


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    calls=CALLS, key=TEXT.filter(bool), feature=QUERY_TEXT, values=st.lists(QUERY_TEXT, max_size=3)
)
def test_groups_and_filters_agree_with_python(  # noqa: PLR0913, PLR0917 - drawn values
    connection: psycopg.Connection[tuple[object, ...]],
    database_url: str,
    calls: list[Call],
    key: str,
    feature: str,
    values: list[str],
) -> None:
    key = calls[0].key if calls and len(key) % 2 else key
    feature = calls[-1].feature if calls and len(feature) % 2 else feature
    store(connection, calls)
    with TokenLedgerQueries(database_url) as queries:
        dimension = f"metadata.{key}"
        report = queries.get_costs_by("feature", dimension, days=1)
        groups = {row.labels: (row.cost_usd, row.calls) for row in report.rows}
        assert groups == sums(calls, key)

        where = {"feature": feature, dimension: values}
        narrowed = [
            call
            for call in calls
            if call.feature == feature and (call.value if call.key == key else "") in values
        ]
        summary = queries.get_cost_summary(days=1, where=where)
        assert summary.total_requests == len(narrowed)
        assert summary.total_cost == sum((c.cost_usd or 0 for c in narrowed), Decimal(0))
        assert summary.coverage.unpriced == sum(c.cost_usd is None for c in narrowed)

        page = queries.fetch_raw(where=where, limit=100)
        assert sorted(event.feature for event in page.events) == sorted(c.feature for c in narrowed)
        grouped = queries.aggregate(["feature", dimension], ["count_requests"], where=where)
        assert sum(entry.metrics["count_requests"] for entry in grouped) == len(narrowed)
        assert queries.get_error_rate(where=where).total_requests == len(narrowed)
        assert queries.get_latency_percentiles(where=where).coverage.calls == len(narrowed)
        assert queries.get_cache_savings(where=where).coverage.calls == len(narrowed)
        assert queries.get_daily_trend(2, where=where).coverage.calls == len(narrowed)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=QUERY_TEXT)
def test_any_unknown_name_is_an_invalid_request(database_url: str, text: str) -> None:
    queries = TokenLedgerQueries(database_url)
    with pytest.raises(InvalidRequestError):
        queries.get_costs_by("feature", order_by=f"{text}!")
    with pytest.raises(InvalidRequestError):
        queries.get_costs_by(f"{text}!")
    with pytest.raises(InvalidRequestError):
        queries.get_cost_summary(where={f"{text}!": "x"})
    with pytest.raises(InvalidRequestError):
        queries.get_hourly_costs(timezone=f"{text}!")
    with pytest.raises(InvalidRequestError):
        queries.aggregate("day", [f"{text}!"])
    with pytest.raises(InvalidRequestError):
        queries.fetch_raw(cursor=f"{text}!")
