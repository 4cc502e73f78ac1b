"""Every dimension of the contract works in grouping, filters, roll-ups and deletion."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from support.ledger_rows import ask, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv.dimensions import DIMENSIONS, ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow

ONE_CALL: Final = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
COLUMNS: Final = {dimension.name: dimension.column for dimension in DIMENSIONS} | {
    "metadata.tier": "metadata"
}


def call(name: str, value: str) -> LedgerRow:
    text = json.dumps({"tier": value}) if name == "metadata.tier" else value
    return replace(row(), **{COLUMNS[name]: text})


@pytest.mark.parametrize("name", COLUMNS)
def test_every_dimension_groups_filters_rolls_up_and_deletes(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    with closing(BatchWriter(database_url)) as writer:
        writer.write([call(name, "one"), call(name, "two"), call(name, "two")])
    queries = TokenLedgerQueries(database_url)
    groups = [(("two",), 2 * ONE_CALL), (("one",), ONE_CALL)]
    for _ in ("as rows", "rolled up"):
        report = queries.get_costs_by(name)
        assert [(group.labels, group.cost_usd) for group in report.rows] == groups
        assert queries.get_cost_summary(where={name: "two"}).total_cost == 2 * ONE_CALL
        trend = queries.get_daily_trend(2, where={name: "one"})
        assert sum(day.total_requests for day in trend) == 1
        [first, _] = queries.aggregate(name, ["count_requests"])
        assert (first.groups[name], first.metrics["count_requests"]) == ("one", 1)
        printed = CliRunner().invoke(main, ["report", "--by", name, "--format", "json"])
        labels = [group[name] for group in json.loads(printed.stdout)["rows"]]
        assert labels == ["two", "one"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            refresh.refresh(connection)
    sums = (
        "SELECT value, sum(calls) FROM token_ledger_rollup_days"
        f" WHERE dimension = '{name}' GROUP BY 1 ORDER BY 1"
    )
    is_rolled_up = name in {dimension.name for dimension in ROLLUP_DIMENSIONS}
    assert ask(database_url, sums) == ([("one", 1), ("two", 2)] if is_rolled_up else [])
    simulated = purge(database_url, where={name: "two"}, simulate=True)
    purged = purge(database_url, where={name: "two"})
    assert (simulated.events, purged.events, purged.cost_usd) == (2, 2, 2 * ONE_CALL)
    assert [group.labels for group in queries.get_costs_by(name).rows] == [("one",)]
