"""A time expression is a timestamp, to the microsecond, in the reader's time zone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tokenledger_exporter.domain.time_expressions import (
    FORMS,
    days_before,
    parse_end,
    parse_moment,
    parse_month,
)
from tokenledger_exporter.errors import InvalidRequestError

NOW = datetime(2026, 11, 28, 16, 45, 30, 123456, tzinfo=timezone.utc)
BERLIN = ZoneInfo("Europe/Berlin")


def utc(year: int, month: int, day: int, *clock: int) -> datetime:
    hour, minute, second, microsecond = (*clock, 0, 0, 0, 0)[:4]
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("today", utc(2026, 11, 28)),
        ("yesterday", utc(2026, 11, 27)),
        ("7d", utc(2026, 11, 21, 16, 45, 30, 123456)),
        ("24h", utc(2026, 11, 27, 16, 45, 30, 123456)),
        ("90m", utc(2026, 11, 28, 15, 15, 30, 123456)),
        ("2w", utc(2026, 11, 14, 16, 45, 30, 123456)),
        ("999999m", NOW - timedelta(minutes=999_999)),
        (" 7 D ", utc(2026, 11, 21, 16, 45, 30, 123456)),
        ("2026-11-01", utc(2026, 11, 1)),
        ("2026-11-01T09:30", utc(2026, 11, 1, 9, 30)),
        ("2026-11-01T09:30:00Z", utc(2026, 11, 1, 9, 30)),
        ("2026-11-01T09:30:00+02:00", utc(2026, 11, 1, 7, 30)),
    ],
)
def test_every_form_is_a_timestamp(text: str, expected: datetime) -> None:
    assert parse_moment(text, NOW) == expected


def test_a_day_begins_at_midnight_of_the_zone() -> None:
    assert parse_moment("today", NOW, BERLIN) == utc(2026, 11, 27, 23)
    assert parse_moment("2026-11-01", NOW, BERLIN) == utc(2026, 10, 31, 23)
    assert parse_moment("2026-11-01T00:00Z", NOW, BERLIN) == utc(2026, 11, 1)


def test_yesterday_is_the_previous_midnight_on_a_day_with_a_clock_change() -> None:
    # The clocks of Berlin went back on 2026-10-25: the day had 25 hours.
    monday = utc(2026, 10, 26, 12)
    assert parse_moment("today", monday, BERLIN) == utc(2026, 10, 25, 23)
    assert parse_moment("yesterday", monday, BERLIN) == utc(2026, 10, 24, 22)


def test_the_clock_is_read_if_no_time_is_passed() -> None:
    before = datetime.now(timezone.utc)
    assert before <= parse_moment("now") <= datetime.now(timezone.utc)


@pytest.mark.parametrize("text", ["", "tomorrow", "7y", "1234567d", "d7", "7dd", "2026-13-01"])
def test_invalid_text_is_rejected_with_the_valid_formats(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_moment(text, NOW)
    assert str(refused.value) == f"invalid time {text!r}; use one of {FORMS}"


def test_a_time_before_the_year_1_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="'999999w' is too far in the past; use a later"):
        parse_moment("999999w", NOW)
    with pytest.raises(InvalidRequestError, match="'800000 days' is too far in the past"):
        days_before(NOW, 800_000)
    with pytest.raises(InvalidRequestError, match="'1000000000000 days' is too far in the past"):
        days_before(NOW, 10**12)


def test_whole_days_are_subtracted() -> None:
    assert days_before(NOW, 1) == utc(2026, 11, 27, 16, 45, 30, 123456)
    assert days_before(NOW, 30) == utc(2026, 10, 29, 16, 45, 30, 123456)


@pytest.mark.parametrize("days", [0, -1])
def test_fewer_than_one_day_is_refused(days: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"days must be 1 or more, not {days}"):
        days_before(NOW, days)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-31", utc(2026, 11, 1)),
        ("today", utc(2026, 11, 29)),
        ("Yesterday", utc(2026, 11, 28)),
        ("2026-10-31T12:00", utc(2026, 10, 31, 12)),
        ("7d", utc(2026, 11, 21, 16, 45, 30, 123456)),
        ("now", NOW),
    ],
)
def test_a_period_that_ends_on_a_day_includes_it(text: str, expected: datetime) -> None:
    assert parse_end(text, NOW) == expected


def test_a_day_ends_at_midnight_of_its_zone_also_when_the_clocks_change() -> None:
    assert parse_end("2026-10-25", NOW, BERLIN) == utc(2026, 10, 25, 23)
    assert parse_moment("2026-10-25", NOW, BERLIN) == utc(2026, 10, 24, 22)
    with pytest.raises(InvalidRequestError, match="after the year 9999"):
        parse_end("9999-12-31", NOW)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10", utc(2026, 10, 1), utc(2026, 11, 1)),
        ("2026-12", utc(2026, 12, 1), utc(2027, 1, 1)),
        ("2024-02", utc(2024, 2, 1), utc(2024, 3, 1)),
        ("last", utc(2026, 10, 1), utc(2026, 11, 1)),
        (" This ", utc(2026, 11, 1), utc(2026, 12, 1)),
    ],
)
def test_a_month_is_all_of_its_days(text: str, start: datetime, end: datetime) -> None:
    assert parse_month(text, NOW) == (start, end)


def test_the_month_is_that_of_the_zone() -> None:
    new_year = utc(2026, 12, 31, 23, 30)
    assert parse_month("this", new_year, BERLIN) == (utc(2026, 12, 31, 23), utc(2027, 1, 31, 23))
    assert parse_month("this", new_year)[0] == utc(2026, 12, 1)


@pytest.mark.parametrize("text", ["october", "2026-13", "2026", "", "9999-12"])
def test_any_other_month_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_month(text, NOW)
