"""Nothing expires unless set; then whole months go, archived if wanted. Months ahead are made."""

from __future__ import annotations

import csv
import gzip
import importlib
import importlib.util
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from support.ledger_rows import ask, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.errors import InvalidRequestError, LedgerError
from tokenledger_exporter.maintenance.retention import run_retention, set_retention, show_retention
from tokenledger_exporter.store.partitions import make_months_ahead
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

NOW: Final = datetime.now(timezone.utc)
LEAVES: Final = (
    "SELECT inhrelid::regclass::text FROM pg_inherits"
    " WHERE inhparent = 'token_ledger_events'::regclass ORDER BY 1"
)
HELD: Final = "SELECT count(*), sum(cost_usd) FROM token_ledger_events"


def months_ago(number: int) -> datetime:
    """Noon of the 15th of that month: no test depends on how long months are."""
    first = NOW.replace(day=1, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(number):
        first = (first - timedelta(days=1)).replace(day=1)
    return first.replace(day=15)


def leaf(moment: datetime) -> str:
    return f"token_ledger_events_{moment:%Y_%m}"


@pytest.fixture
def old_calls(database_url: str) -> Generator[str]:
    """A call in each of the last six months but this one."""
    writer = BatchWriter(database_url)
    writer.write([replace(row(), timestamp=months_ago(ago)) for ago in range(1, 7)])
    yield database_url
    writer.close()


def test_nothing_expires_unless_set(old_calls: str) -> None:
    before = ask(old_calls, HELD)
    assert show_retention(old_calls) is None
    assert run_retention(old_calls) == []
    assert ask(old_calls, HELD) == before


def test_only_whole_expired_months_are_dropped(old_calls: str) -> None:
    found = set_retention(old_calls, "3mo")
    assert found is not None
    assert found.horizon == months_ago(3).replace(day=1, hour=0)
    assert ask(old_calls, HELD) == [(6, 6 * Decimal("0.0035"))], "set alone drops nothing"
    would = run_retention(old_calls, simulate=True)
    assert ask(old_calls, HELD) == [(6, 6 * Decimal("0.0035"))]
    gone = run_retention(old_calls)
    assert gone == would
    assert [(month.name, month.rows) for month in gone] == [
        (leaf(months_ago(ago)), 1) for ago in (6, 5, 4)
    ]
    assert ask(old_calls, HELD) == [(3, 3 * Decimal("0.0035"))]
    assert not {(month.name,) for month in gone} & set(ask(old_calls, LEAVES))
    assert run_retention(old_calls) == []
    acts = ask(
        old_calls, "SELECT action, counts ->> 'events' FROM token_ledger_audit_log ORDER BY 1"
    )
    assert acts == [("retention drop", "1")] * 3 + [("retention set", None)]


def test_days_are_kept_as_whole_months(old_calls: str) -> None:
    found = set_retention(old_calls, "31d")
    assert found is not None
    oldest = (NOW - timedelta(days=31)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert found.horizon == oldest
    assert set_retention(old_calls, "forever") is None
    assert run_retention(old_calls) == []


def test_a_late_row_from_before_the_horizon_is_rejected_with_the_reason(database_url: str) -> None:
    set_retention(database_url, "3mo")
    writer = BatchWriter(database_url)
    late = [replace(row(), timestamp=months_ago(ago)) for ago in (3, 4)]
    result = writer.write(late)
    writer.close()
    assert (result.stored, result.rejected) == (1, 1)
    [(reason,)] = ask(database_url, "SELECT reason FROM token_ledger_rejected")
    horizon = months_ago(3).replace(day=1)
    assert reason == f"the call is older than the ledger, which starts on {horizon:%Y-%m-%d}"


def test_a_month_is_archived_as_csv_with_every_digit(
    old_calls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_is_installed(_name: str) -> None:
        """As where the extra `archive` was left out."""

    monkeypatch.setattr(importlib.util, "find_spec", none_is_installed)
    set_retention(old_calls, "5mo", str(tmp_path / "old"))
    [month] = run_retention(old_calls)
    assert month.archived_to is not None
    assert month.archived_to == (tmp_path / "old" / f"{leaf(months_ago(6))}.csv.gz").resolve()
    with gzip.open(month.archived_to, "rt") as file:
        [told] = csv.DictReader(file)
    assert Decimal(told["cost_usd"]) == Decimal("0.0035")
    assert (told["model"], told["input_tokens"]) == ("gpt-4o", "1000")
    assert month.archived_to.stat().st_mode & 0o777 == 0o600
    # A month that came back and goes again takes no earlier archive's place.
    with psycopg.connect(old_calls) as connection:
        month_start = months_ago(6).date().replace(day=1)
        connection.execute("SELECT token_ledger_add_partitions(%s, %s)", (month_start, month_start))
    [again] = run_retention(old_calls)
    assert again.archived_to is not None
    assert again.archived_to.name == f"{leaf(months_ago(6))}-2.csv.gz"
    assert len(list((tmp_path / "old").iterdir())) == 2


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is not installed")
def test_a_month_is_archived_as_parquet_where_pyarrow_is(old_calls: str, tmp_path: Path) -> None:
    set_retention(old_calls, "5mo", str(tmp_path))
    [(event_id, timestamp)] = ask(
        old_calls, f"SELECT event_id, timestamp FROM {leaf(months_ago(6))}"
    )
    [month] = run_retention(old_calls)
    assert month.archived_to is not None
    parquet: Any = importlib.import_module("pyarrow.parquet")
    [told] = parquet.read_table(month.archived_to).to_pylist()
    assert (told["event_id"], told["timestamp"]) == (str(event_id), timestamp)
    assert (Decimal(told["cost_usd"]), told["input_tokens"]) == (Decimal("0.0035"), 1_000)
    assert (told["metadata"], told["settled"]) == ("{}", True)


def test_a_month_that_cannot_be_archived_stays(old_calls: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    set_retention(old_calls, "5mo", str(tmp_path / "file"))
    with pytest.raises(LedgerError, match="cannot archive"):
        run_retention(old_calls)
    assert ask(old_calls, HELD) == [(6, 6 * Decimal("0.0035"))]


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nope"])
def test_a_folder_that_takes_no_archive_is_named_when_it_is_set(
    database_url: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    words = ["retention", "set", "--keep", "5mo", "--archive", str(tmp_path / name)]
    done = CliRunner().invoke(main, [*words, "--database-url", database_url])
    assert done.exit_code == 0
    assert "tokenledger: nothing can be archived from this machine: " in done.stderr
    assert "where 'tokenledger keep' runs" in done.stderr


def test_another_period_leaves_the_folder_as_it_is(database_url: str, tmp_path: Path) -> None:
    def retention(*words: str) -> str:
        done = CliRunner().invoke(main, ["retention", *words, "--database-url", database_url])
        assert done.exit_code == 0, done.output
        return done.output

    folder = f"archived in {tmp_path}"
    assert folder in retention("set", "--keep", "13mo", "--archive", str(tmp_path))
    assert folder in retention("set", "--keep", "12mo")
    assert folder not in retention("set", "--keep", "12mo", "--no-archive")
    assert folder not in retention("set", "--keep", "11mo")


@pytest.mark.parametrize(
    "words", [("--archive", ""), ("--archive", " "), ("--archive", "/x", "--no-archive")]
)
def test_an_archive_without_a_name_is_refused(database_url: str, words: tuple[str, ...]) -> None:
    """The variable of a script may be unset; months must not be dropped for that."""
    command = ["retention", "set", "--keep", "12mo", *words, "--database-url", database_url]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "--archive needs a directory; --no-archive drops months" in done.output


def test_a_folder_that_takes_archives_stays_as_it_is(database_url: str, tmp_path: Path) -> None:
    words = ["retention", "set", "--keep", "5mo", "--archive", str(tmp_path / "new" / "folder")]
    done = CliRunner().invoke(main, [*words, "--database-url", database_url])
    assert (done.exit_code, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_locked_month_is_dropped_later(old_calls: str, tmp_path: Path) -> None:
    set_retention(old_calls, "5mo", str(tmp_path))
    with psycopg.connect(old_calls) as holder:
        holder.execute("SELECT count(*) FROM token_ledger_events")
        [month] = run_retention(old_calls)
        assert month.waits
        assert list(tmp_path.iterdir()) == [], "no archive of a month that stays"
        done = CliRunner().invoke(main, ["retention", "run", "--database-url", old_calls])
        assert done.exit_code == 1
        assert "it is locked" in done.stderr
    [month] = run_retention(old_calls)
    assert not month.waits


@pytest.mark.parametrize("keep", ["", "0d", "30d", "0mo", "1.5mo", "13", "-1mo", "12 parsecs"])
def test_an_invalid_or_short_period_is_rejected(database_url: str, keep: str) -> None:
    with pytest.raises(InvalidRequestError, match="400d, 13mo, 2y or forever"):
        set_retention(database_url, keep)


def test_the_commands_print_the_retention_period(
    old_calls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", old_calls)

    def run(*words: str) -> str:
        return CliRunner().invoke(main, ["retention", *words]).stdout

    assert run("show") == "calls are kept forever\n"
    assert run("set", "--keep", "5mo").startswith("calls are kept for 5 months, now from ")
    assert "set by postgres" in run("show")
    name = leaf(months_ago(6))
    assert run("run", "--simulate") == f"{name}: would drop, 1 call ($0.0035)\n"
    assert run("run") == f"{name}: dropped, 1 call ($0.0035)\n"
    assert run("run") == "no month is older than the limit\n"


def test_maintenance_creates_partitions_without_waiting(database_url: str) -> None:
    ahead = leaf(months_ago(0) + timedelta(days=62))
    with psycopg.connect(database_url) as connection:
        connection.execute(f"DROP TABLE {ahead}".encode())
    with psycopg.connect(database_url, autocommit=True) as keeper:
        with psycopg.connect(database_url) as holder:
            # What a vacuum of the parent holds.
            holder.execute("LOCK TABLE token_ledger_events IN SHARE UPDATE EXCLUSIVE MODE")
            assert "the next round will retry" in make_months_ahead(keeper)
        assert make_months_ahead(keeper) == ""
    assert (ahead,) in ask(database_url, LEAVES)
    with psycopg.connect(database_url) as connection:
        connection.execute(f"DROP TABLE {ahead}".encode())
    assert CliRunner().invoke(main, ["keep", "--database-url", database_url]).exit_code == 0
    assert (ahead,) in ask(database_url, LEAVES)
