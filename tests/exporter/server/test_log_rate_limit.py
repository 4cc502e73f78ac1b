"""Clients cannot fill the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tokenledger_exporter.server.transport.log_rate_limit import LogRateLimit

if TYPE_CHECKING:
    import pytest


def record(text: str, event: str = "") -> logging.LogRecord:
    line = logging.LogRecord("tokenledger", logging.WARNING, __file__, 1, text, None, None)
    line.event = event
    return line


def test_ten_lines_of_a_kind_are_written() -> None:
    limit = LogRateLimit()
    assert sum(limit.filter(record("%s: %s", "unreadable")) for _ in range(5_000)) == 10
    assert limit.filter(record("%s: %s", "another"))


def test_the_first_line_of_a_new_minute_says_how_many_were_omitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(
        "tokenledger_exporter.server.transport.log_rate_limit.time.monotonic", lambda: now[0]
    )
    limit = LogRateLimit()
    for _ in range(25):
        limit.filter(record("bad request"))
    now[0] += 61
    first = record("bad request")
    assert limit.filter(first)
    assert first.getMessage() == "bad request (15 such lines omitted)"
