"""A month is compared with the month before, another period with the time before it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tokenledger_exporter.domain.preceding import preceding_period
from tokenledger_exporter.domain.time_expressions import parse_month, until_now
from tokenledger_exporter.errors import InvalidRequestError

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")


def day(text: str, zone: timezone | ZoneInfo = UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def test_a_month_is_compared_with_the_month_before_of_another_length() -> None:
    """March has 31 days and February 2026 has 28."""
    before = preceding_period(day("2026-03-01"), day("2026-04-01"), UTC)
    assert before == (day("2026-02-01"), day("2026-03-01"))
    assert preceding_period(day("2026-01-01"), day("2026-02-01"), UTC) == (
        day("2025-12-01"),
        day("2026-01-01"),
    )


def test_a_month_of_a_time_zone_is_one_there() -> None:
    """The clocks of Berlin change in October: its month has an hour more."""
    before = preceding_period(day("2025-11-01", BERLIN), day("2025-12-01", BERLIN), BERLIN)
    assert before == (day("2025-10-01", BERLIN), day("2025-11-01", BERLIN))
    in_utc = preceding_period(day("2025-11-01", BERLIN), day("2025-12-01", BERLIN), UTC)
    assert in_utc[1] - in_utc[0] == timedelta(days=30)


def test_a_month_that_is_not_over_is_compared_up_to_the_same_time() -> None:
    start, end = parse_month("this")
    before_start, _ = parse_month("last")
    since, until = preceding_period(start, end, UTC)
    assert since == before_start
    so_far = min(until_now() - start, start - before_start)
    assert abs((until - since) - so_far) < timedelta(seconds=10)


def test_any_other_period_is_compared_with_as_long_a_time() -> None:
    before = preceding_period(day("2026-03-02"), day("2026-03-09"), UTC)
    assert before == (day("2026-02-23"), day("2026-03-02"))
    # Two months are no month.
    assert preceding_period(day("2026-03-01"), day("2026-05-01"), UTC) == (
        day("2026-03-01") - timedelta(days=61),
        day("2026-03-01"),
    )


def test_the_future_has_no_length() -> None:
    since = datetime.now(UTC) - timedelta(days=2)
    before, _ = preceding_period(since, since + timedelta(days=30), UTC)
    assert abs((since - before) - timedelta(days=2)) < timedelta(minutes=2)


def test_before_the_first_year_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match="before the year 1"):
        preceding_period(day("0001-02-01"), day("2026-01-01"), UTC)
