"""Results in a notebook: an escaped table, exact data frames, plots with marks for unknown."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import polars as pl
import psycopg
import pytest
from IPython.core.formatters import HTMLFormatter
from matplotlib import pyplot as plt

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import TokenLedgerQueries

if TYPE_CHECKING:
    from collections.abc import Generator

    from matplotlib.axes import Axes

    from tokenledger_exporter.queries.notebook import NotebookResult

# 0.1 + 1e-18 is not a float.
EXACT: Final = Decimal("0.100000000000000001")
ROWS: Final = f"""
INSERT INTO token_ledger_events
    (provider, model, team, cost_status, cost_usd, input_tokens, output_tokens)
VALUES
    ('openai', 'gpt-4o', 'ml', 'priced', {EXACT}, 10, 1),
    ('openai', 'gpt-4o', 'ops', 'partial', 0.25, 10, 1),
    ('openai', 'acme-7b', 'ops', 'unpriced', NULL, 40, 4),
    ('openai', 'acme-7b', '<b>web\u202e</b>', 'unpriced', NULL, 40, 4)
"""


@pytest.fixture
def queries(database_url: str) -> Generator[TokenLedgerQueries]:
    mpl.use("Agg")
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS.encode())
    yield TokenLedgerQueries(database_url)
    plt.close("all")


def shown(result: object) -> str:
    """The HTML that IPython shows."""
    return str(HTMLFormatter()(result))


def results(queries: TokenLedgerQueries) -> dict[str, NotebookResult]:
    return {
        "report": queries.get_costs_by("team"),
        "comparison": queries.compare_costs("team"),
        "summary": queries.get_cost_summary(),
        "model": queries.get_costs_by_model()[0],
        "trend": queries.get_daily_trend(3),
        "month": queries.get_projected_monthly_cost(),
        "savings": queries.get_cache_savings(),
        "why": queries.why("team"),
        "calls": queries.fetch_raw(),
    }


def test_every_result_is_a_table_and_a_frame(queries: TokenLedgerQueries) -> None:
    for name, result in results(queries).items():
        html = shown(result)
        assert html.startswith("<div><table>"), name
        assert "<b>" not in html
        assert "\u202e" not in html
        assert "coverage: " in html
        records = result.to_records()
        assert len(result.to_pandas()) == len(result.to_polars()) == len(records), name


def test_a_table_says_unknown_and_aligns_money_to_the_right(queries: TokenLedgerQueries) -> None:
    html = shown(queries.get_costs_by("team"))
    cell = '<td style="text-align: right"'
    assert f'{cell} title="0.100000000000000001">0.100000</td>' in html
    # ops: one partial call, and one without a known cost
    assert f'{cell} title="0.25">0.250000+~</td>' in html
    assert f"{cell}>unknown</td>" in html
    assert "&lt;b&gt;web\\u202e&lt;/b&gt;" in html
    assert "coverage: 1 of 4 calls priced (25.0%), 1 partial, 2 unpriced" in html


def test_frames_keep_every_digit_and_unknown_is_not_zero(queries: TokenLedgerQueries) -> None:
    report = queries.get_costs_by("team")
    pandas_costs = dict(
        zip(report.to_pandas()["team"], report.to_pandas()["cost_usd"], strict=True)
    )
    frame = report.to_polars()
    polars_costs = dict(zip(frame["team"], frame["cost_usd"], strict=True))
    for costs in (pandas_costs, polars_costs):
        assert costs == {"ops": Decimal("0.25"), "ml": EXACT, "<b>web\u202e</b>": None}
        assert isinstance(costs["ml"], Decimal)
    assert frame.schema["cost_usd"] == pl.Decimal(38, 18)
    assert report.to_pandas()["cost_usd"].dtype == object
    assert frame["cost_usd"].sum() == EXACT + Decimal("0.25")


def test_a_cost_too_long_for_polars_names_the_other_frame(
    queries: TokenLedgerQueries, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET cost_usd = 10 + 1e-38::numeric WHERE team = 'ml'"
        )
    report = queries.get_costs_by("team")
    with pytest.raises(
        InvalidRequestError, match=r"'cost_usd' needs more than 38 digits.*to_pandas"
    ):
        report.to_polars()
    assert report.to_pandas()["cost_usd"][0] == Decimal(f"10.{'0' * 37}1")


def texts_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_bars_mark_what_is_unknown_and_draw_no_bar_for_it(queries: TokenLedgerQueries) -> None:
    axes = queries.get_costs_by("team").plot()
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["ops", "ml", "<b>web\\u202e</b>"]
    assert [bar.get_width() for bar in axes.patches] == [0.25, float(EXACT)]  # type: ignore[attr-defined]
    assert texts_of(axes) == [" +~", " ", " ? unknown"]
    assert axes.get_xlabel().startswith("US dollars; + calls without a known cost are missing")
    assert axes.get_title(loc="left").startswith("coverage: 1 of 4 calls priced")


def test_lines_are_interrupted_where_the_cost_is_unknown(queries: TokenLedgerQueries) -> None:
    axes = queries.get_costs_by("day", "team").plot()
    heights: dict[str, list[Any]] = {
        str(line.get_label()): list(line.get_ydata())  # type: ignore[arg-type]
        for line in axes.lines
    }
    assert heights["ml"] == [float(EXACT)]
    assert str(heights["<b>web\\u202e</b>"][0]) == "nan"
    assert texts_of(axes) == ["?"]
    axes = queries.get_daily_trend(3).plot()
    [line] = axes.lines
    # Two days without calls cost nothing.
    assert list(line.get_ydata()) == [0.0, 0.0, 0.25 + float(EXACT)]  # type: ignore[arg-type]


def test_the_causes_of_a_change_are_bars(queries: TokenLedgerQueries) -> None:
    axes = queries.why("team").plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["new in this period / ops"]
    [bar] = axes.patches
    assert bar.get_width() == pytest.approx(0.35)  # type: ignore[attr-defined]


def test_a_result_is_drawn_where_the_caller_wants_it(queries: TokenLedgerQueries) -> None:
    _, axes = plt.subplots()
    assert queries.get_costs_by("team").plot(axes) is axes
    with pytest.raises(InvalidRequestError, match="nothing to plot"):
        queries.why("team", where={"team": "none"}).plot()


@pytest.mark.parametrize(
    ("package", "method"),
    [("pandas", "to_pandas"), ("polars", "to_polars"), ("matplotlib", "plot")],
)
def test_a_package_that_is_missing_is_named_with_the_command(
    queries: TokenLedgerQueries, package: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = queries.get_costs_by("team")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidRequestError, match=rf"{package} is not installed: .*\[notebook\]"):
        getattr(report, method)()
