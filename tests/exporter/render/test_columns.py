"""Tables fit the terminal, and numbers stay whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tokenledger_exporter.render.columns import Column, draw_table
from tokenledger_exporter.render.table import render_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

LABELS = Column("model", ["claude-sonnet-4-5-20250929", "gpt-4o"], "total")
COST = Column("cost $", ["1,234,567.123456+", "unknown"], "1,234,567.123456+", is_number=True)
TOKENS = [
    Column(f"{kind} tokens", ["123,456,789,012", "0"], "9", is_number=True, is_optional=True)
    for kind in ("input", "output", "cached")
]


def widest(text: str) -> int:
    return max(map(cell_len, text.splitlines()))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_table_fits_and_its_numbers_are_whole(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = draw_table([LABELS, COST, *TOKENS])
    assert widest(text) <= width
    assert "1,234,567.123456+" in text
    assert "unknown" in text


def test_without_room_the_last_optional_columns_are_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = draw_table([LABELS, COST, *TOKENS])
    assert text.splitlines()[-2:] == [
        "no room for input tokens, output tokens, cached tokens: use",
        "a wider terminal or --format csv",
    ]
    monkeypatch.setenv("COLUMNS", "140")
    assert "no room" not in draw_table([LABELS, COST, *TOKENS])


def test_figures_that_can_be_left_out_go_before_a_name_is_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    text = draw_table([LABELS, COST, *TOKENS])
    assert "claude-sonnet-4-5-20250929 " in text
    assert "no room for input tokens" in text


def test_a_long_name_is_folded_after_a_hyphen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    model = Column("model", ["claude-haiku-4-5-20251001", "a" * 40])
    lines = draw_table([model, Column("feature", ["summarize/nightly", "chat"])]).splitlines()
    assert lines[2:4] == ["claude-haiku-   summarize/", "4-5-20251001    nightly"]
    assert "".join(line.split()[0] for line in lines[4:]).startswith("a" * 30)


def test_titles_are_stacked_before_text_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    calls = Column("calls without cost", ["1", "2"], is_number=True)
    text = draw_table([Column("model", ["claude-sonnet-4-5-20250929", "gpt-4o"]), calls])
    assert "claude-sonnet-4-5-20250929" in text
    assert widest(text) <= 42


def test_columns_without_content_are_left_out_of_a_table_only() -> None:
    rows: list[Mapping[str, str | int | None]] = [
        {"model": "a", "tier": None, "filled": 0},
        {"model": "b", "tier": "", "filled": 0},
    ]
    columns = ("model", "tier", "filled")
    assert render_rows(columns, rows, "table").splitlines()[0] == "model"
    assert render_rows(columns, rows, "csv").startswith("model,tier,filled")


def test_a_text_of_wide_characters_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = draw_table([Column("feature", ["要約" * 20]), Column("calls", ["1"])])
    assert widest(text) <= 40
