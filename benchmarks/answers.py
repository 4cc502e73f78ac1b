"""How fast a ledger of millions of calls answers while it is written to.

Questions are asked through `TokenLedgerQueries` while another process writes calls of now and a
keeper rolls them up, so that what is newest is always out of date in the roll-ups. Times are of
whole questions, planning and the way there and back included: `make bench-answers`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import mock

import psycopg

from benchmarks import children
from benchmarks.stream_of_calls import (
    FEATURES,
    MODELS,
    ORGANIZATIONS,
    PROJECTS,
    TEAMS,
    USERS,
    made_rows,
    of_now,
)
from tokenledger_exporter.db.connection import reading
from tokenledger_exporter.db.steps import cache_plans, run_steps
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.queries import TokenLedgerQueries, report
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.rollups import refresh, source
from tokenledger_exporter.rollups.columns import FIGURES
from tokenledger_exporter.rollups.verify import verify
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    import random
    from collections.abc import Generator

_SERVER: Final = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
_DAYS: Final = 30
_FILL: Final = f"""
INSERT INTO token_ledger_events (
    timestamp, provider, model, user_id, organization_id, feature, team, project, app_name,
    input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, cost_status, duration_ms,
    response_id
)
SELECT
    now() - interval '{_DAYS} days' + number * (interval '{_DAYS} days' / %(rows)s),
    'openai', 'model-' || (random() * {MODELS - 1})::int, 'user-' || (random() * {USERS - 1})::int,
    'org-' || (random() * {ORGANIZATIONS - 1})::int, 'feature-' || (random() * {FEATURES - 1})::int,
    'team-' || (random() * {TEAMS - 1})::int, 'project-' || (random() * {PROJECTS - 1})::int,
    'bench', 1000 + number %% 500, 100, 1100 + number %% 500, number %% 300,
    0.0035 + (number %% 100) * 0.0001, 'priced', 100, 'chatcmpl-' || md5(number::text)
FROM generate_series(1, %(rows)s) AS number
"""
_AIM_MS: Final = 30.0


@dataclass(frozen=True)
class Answered:
    """How long one question took, milliseconds, and how often it was asked."""

    median_ms: float
    p99_ms: float
    times: int


def main(rows: int = 3_000_000, seconds: float = 60.0, sums: int = 0) -> None:
    """Measure and print every figure of reading.

    Args:
        rows: calls in the larger ledger.
        seconds: how long each ledger is asked.
        sums: rows of sums by hour to ask again with, of years whose calls were dropped; 100 million
            take 28 GiB and a quarter of an hour.
    """
    with temporary_postgres(_SERVER) as url:
        small = made_ledger(url, "small", rows // 10)
        large = made_ledger(url, "large", rows)
        asked = {
            name: _questions_under_load(name, one, seconds)
            for name, one in {"small": small, "large": large}.items()
        }
        _print_questions(rows, asked["small"], asked["large"], _from_rows(large))
        _print_burst(large, min(seconds, 30.0))
        _print_upkeep(small)
        _print_pages(url, large, rows // 10)
        if sums:
            add_sums(large, sums)
            with_sums = _questions_under_load("with sums", large, seconds)
            _print_with_sums(sums, asked["large"], with_sums)
        wrong = verify(small)
        print(f"every sum recomputed from the {rows // 10:,} calls: {len(wrong)} differ (aim: 0)")


def made_ledger(server: str, name: str, rows: int) -> str:
    """A ledger of a month's calls, rolled up."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = f"{server.rpartition('/')[0]}/{name}"
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date)"
        )
        # As a ledger of before the roll-ups: the keeper builds its past, newest day first.
        connection.execute(
            "UPDATE token_ledger_rollup_state SET since = 'infinity', hot_since = 'infinity'"
        )
        connection.execute("ALTER TABLE token_ledger_events DISABLE TRIGGER USER")
        connection.execute(_FILL.encode(), {"rows": rows})
        connection.execute("ALTER TABLE token_ledger_events ENABLE TRIGGER USER")
        connection.execute("VACUUM ANALYZE")
        began = time.perf_counter()
        refresh.refresh(connection)
        took = time.perf_counter() - began
        connection.execute("VACUUM ANALYZE")
        [sizes] = connection.execute(
            "SELECT (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'token_ledger_events'::regclass),"
            " pg_total_relation_size('token_ledger_rollup_hours'),"
            " pg_total_relation_size('token_ledger_rollup_days')"
        ).fetchall()
    sizes_text = ", ".join(f"{size / 2**20:,.0f} MiB" for size in map(int, sizes))
    print(
        f"{rows:,} calls of {_DAYS} days rolled up in {took:.1f} s;"
        f" calls, hours, days: {sizes_text}"
    )
    return url


_MONTHS_BEFORE: Final = """
INSERT INTO token_ledger_rollup_{level} (bucket, dimension, value, provider, model, {figures})
SELECT
    bucket - %(number)s * {days} - {between} AS before, dimension, value, provider, model,
    {figures}
FROM token_ledger_rollup_{level}
WHERE bucket >= current_date - {days} AND bucket < current_date
ORDER BY dimension, before, value, provider, model
"""


def add_sums(url: str, count: int) -> None:
    """Sums of years before, until there are so many by hour: the last 28 days again and again.

    They are written straight into the tables, as if retention had let the calls go.
    """
    began, number = time.perf_counter(), 0
    figures = ", ".join(FIGURES)
    units = {
        "hours": {"days": "interval '28 days'", "between": "interval '7 days'"},
        "days": {"days": "28", "between": "7"},
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE token_ledger_rollup_state"
            " SET frozen_before = date_trunc('day', now() - interval '30 days', 'UTC'),"
            " weeks_until = '-infinity'"
        )
        connection.execute("TRUNCATE token_ledger_rollup_weeks")
        [(there,)] = connection.execute("SELECT count(*) FROM token_ledger_rollup_hours").fetchall()
        while there < count:
            number += 1
            for level, unit in units.items():
                statement = _MONTHS_BEFORE.format(level=level, figures=figures, **unit)
                written = connection.execute(statement.encode(), {"number": number}).rowcount
                there += written if level == "hours" else 0
        refresh.refresh(connection)
        connection.execute("VACUUM ANALYZE")
    print(f"{there:,} sums by hour of {number} months before: {time.perf_counter() - began:.0f} s")


def _print_with_sums(sums: int, before: dict[str, Answered], after: dict[str, Answered]) -> None:
    for question, found in after.items():
        print(
            f"  {question:26} with {sums:,} sums by hour median {found.median_ms:6.1f} ms, p99"
            f" {found.p99_ms:6.1f} ms (aim: <= {_AIM_MS:.0f}) of {found.times}:"
            f" {found.median_ms / before[question].median_ms:.2f} x the median before"
        )


def _question_over(
    by: tuple[str, ...], where: dict[str, str] | None = None, limit: int = 1_000
) -> ReportRequest:
    """The last thirty days and today, as a dashboard asks."""
    now = datetime.now(timezone.utc)
    since = (now - timedelta(days=_DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    return ReportRequest(by, since, now + timedelta(minutes=1), limit=limit, where=where)


def questions() -> dict[str, ReportRequest]:
    return {
        "day x model, 30 days": _question_over(("day", "provider", "model")),
        "top 10 users, 30 days": _question_over(("user",), limit=10),
        "one organization's month": _question_over((), {"organization": "org-7"}),
        "by feature, 30 days": _question_over(("feature",)),
    }


def _questions_under_load(name: str, url: str, seconds: float) -> dict[str, Answered]:
    """Ask in turn while calls are written and rolled up."""
    taken: dict[str, list[float]] = {question: [] for question in questions()}
    with load(url, rate=2_000, batch=200, seconds=seconds + 10), reading(url) as connection:
        cache_plans(connection)
        # The first seconds fill the caches, and the first plans of each question are its own.
        for measured, until in ((False, 5.0), (True, seconds)):
            began = time.monotonic()
            while time.monotonic() - began < until:
                for question, asked in questions().items():
                    started = time.perf_counter()
                    with connection.transaction():
                        run_steps(connection, report_steps(asked))
                    if measured:
                        taken[question].append((time.perf_counter() - started) * 1000)
    print(f"  ({name}: {sum(map(len, taken.values()))} questions asked)")
    return {question: _answered(times) for question, times in taken.items()}


def _answered(times: list[float]) -> Answered:
    ordered = sorted(times)
    return Answered(
        ordered[len(ordered) // 2],
        ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        len(ordered),
    )


def _from_rows(url: str) -> dict[str, Answered]:
    """The same questions without roll-ups, with no writer."""

    def rows_only(*_arguments: object, **_named: object) -> source.Source:
        return source.ROWS

    found: dict[str, Answered] = {}
    with mock.patch.object(report, "source_of", rows_only), reading(url) as connection:
        for question, asked in questions().items():
            times: list[float] = []
            for _ in range(3):
                started = time.perf_counter()
                run_steps(connection, report_steps(asked))
                times.append((time.perf_counter() - started) * 1000)
            found[question] = _answered(times)
    return found


@contextmanager
def load(url: str, rate: int, batch: int, seconds: float) -> Generator[subprocess.Popen[str]]:
    """A writer and a keeper, each a process of its own, for the benchmarks of reading."""
    words = ("-m", "benchmarks.stream_of_calls", url, str(rate), str(batch), str(seconds))
    command = Path(sys.executable).parent / "tokenledger"
    keep = (str(command), "keep", "--every", "1", "--database-url", url)
    with (
        subprocess.Popen(
            (sys.executable, *words), env=children.environment(), stdout=subprocess.PIPE, text=True
        ) as writer,
        subprocess.Popen(keep, stdout=subprocess.DEVNULL) as keeper,
    ):
        try:
            yield writer
        finally:
            writer.terminate()
            keeper.terminate()


def _print_questions(
    rows: int,
    small: dict[str, Answered],
    large: dict[str, Answered],
    from_rows: dict[str, Answered],
) -> None:
    print(f"questions over {rows:,} calls, 2,000 more written a second and rolled up meanwhile")
    for question, found in large.items():
        growth = found.median_ms / small[question].median_ms
        print(
            f"  {question:26} median {found.median_ms:6.1f} ms, p99 {found.p99_ms:6.1f} ms"
            f" (aim: <= {_AIM_MS:.0f}) of {found.times}; without roll-ups"
            f" {from_rows[question].median_ms:8.1f} ms; at {rows // 10:,} calls median"
            f" {small[question].median_ms:6.1f}, p99 {small[question].p99_ms:6.1f} ms:"
            f" ten times the calls take {growth:.2f} x (aim: <= 1.5)"
        )


def _print_burst(url: str, seconds: float) -> None:
    """The oldest mark, looked at all the time while calls come at 10,000 a second, and after."""
    # What the questions before left out of date has waited since then.
    with psycopg.connect(url, autocommit=True) as connection:
        refresh.refresh(connection)
    lags: list[float] = []
    question = (
        "SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::float8"
        " FROM token_ledger_rollup_dirty_slices"
    )
    with (
        load(url, rate=10_000, batch=2_000, seconds=seconds) as writer,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        ended = None
        while ended is None or time.monotonic() - ended < 15:
            [(lag,)] = connection.execute(question).fetchall()
            lags.append(lag)
            if writer.poll() is not None and ended is None:
                ended = time.monotonic()
            if ended is not None and not lag:
                break
            time.sleep(0.1)
        caught_up = time.monotonic() - (ended or time.monotonic())
        assert writer.stdout is not None
        written, took = map(float, writer.stdout.read().split())
    print(
        f"burst: {written / took:,.0f} rows/s for {took:.0f} s (aim: 10,000); the oldest mark"
        f" waited {max(lags):.1f} s at most (aim: <= 5), all were taken {caught_up:.1f} s after"
        " the last row"
    )


def _print_upkeep(url: str) -> None:
    """What the server spends on a row with marks and without, and on rolling it up."""
    for batch, count in ((5_000, 10), (100, 150)):
        with_marks: list[float] = []
        without: list[float] = []
        refreshing: list[float] = []
        for number in range(6):
            with_marks.append(_server_us(url, batch, count))
            refreshing.append(_refresh_us(url, batch * count))
            with mock.patch.object(refresh, "mark"):
                without.append(_server_us(url, batch, count))
            del number
        ratio = min(with_marks) / min(without)
        print(
            f"upkeep, batches of {batch:,}: {min(with_marks):.1f} us of the writer's backend a row,"
            f" {min(without):.1f} without marks = {ratio:.2f} (aim: <= 1.15); the keeper's backend"
            f" spends {min(refreshing):.1f} us a row in one refresh, with which it is"
            f" {(min(with_marks) + min(refreshing)) / min(without):.2f}"
        )
    # What was written without marks is not in the sums.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO token_ledger_rollup_dirty_slices (bucket)"
            " SELECT DISTINCT token_ledger_slice(timestamp) FROM token_ledger_events"
            " WHERE timestamp > now() - interval '1 hour'"
        )
        refresh.refresh(connection)


def _server_us(url: str, batch: int, count: int) -> float:
    """CPU time of the writer's backend a row, microseconds."""
    import random  # noqa: PLC0415 - next to its use

    drawn: random.Random = random.Random(time.time_ns())  # noqa: S311 - no two rounds write the same
    rows = made_rows(batch)
    batches = [of_now(rows, drawn) for _ in range(count)]
    with closing(BatchWriter(url)) as writer:
        writer.write(of_now(rows[:1], drawn))
        connection = writer._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if connection is None:
            raise AssertionError("the writer has no connection")
        process = connection.info.backend_pid
        before = _cpu_seconds(process)
        for part in batches:
            writer.write(part)
        return (_cpu_seconds(process) - before) / (batch * count) * 1e6


def _refresh_us(url: str, rows: int) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        before = _cpu_seconds(connection.info.backend_pid)
        refresh.refresh(connection)
        return (_cpu_seconds(connection.info.backend_pid) - before) / rows * 1e6


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _print_pages(server: str, url: str, rows: int) -> None:
    """Pages of 1 and of 1,000, next to another tracker's in an environment of its own."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(b"CREATE DATABASE peer")
    peer = f"{server.rpartition('/')[0]}/peer"
    best: dict[str, list[float]] = {"ours": [0.0, 0.0], "theirs": [0.0, 0.0]}
    with tempfile.TemporaryDirectory() as folder:
        python = _peer_python(Path(folder))
        for _ in range(3):
            for name, turn in {
                "ours": partial(_our_pages, url),
                "theirs": partial(_their_pages, python, peer, min(rows, 100_000)),
            }.items():
                best[name] = [max(pair) for pair in zip(best[name], turn(), strict=True)]
    for number, what in enumerate(("pages of 1 a second", "rows a second in pages of 1,000")):
        ours, theirs = best["ours"][number], best["theirs"][number]
        print(
            f"{what}: {ours:,.0f}, token-usage-metrics 0.1.2 {theirs:,.0f}: {ours / theirs:.1f} x"
            " (aim: >= 2)"
        )


def _our_pages(url: str) -> list[float]:
    found: list[float] = []
    with TokenLedgerQueries(url, prepare=True) as queries:
        for limit in (1, 1_000):
            rows, pages, began = 0, 0, time.perf_counter()
            while time.perf_counter() - began < 1.5:
                page = queries.fetch_raw(project="project-3", limit=limit)
                rows, pages = rows + len(page.events), pages + 1
            took = time.perf_counter() - began
            found.append((pages if limit == 1 else rows) / took)
    return found


def _peer_python(folder: Path) -> Path:
    python = folder / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run((uv, "venv", "--quiet", str(folder)), check=True)
    install = (uv, "pip", "install", "--quiet", "--python", str(python))
    subprocess.run((*install, "token-usage-metrics==0.1.2", "asyncpg"), check=True)
    return python


def _their_pages(python: Path, url: str, rows: int) -> list[float]:
    program = Path(__file__).parent / "peers" / "read_token_usage_metrics.py"
    words = (str(python), str(program), url, str(rows))
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    numbers = [line for line in done.stdout.splitlines() if line.replace(".", "").isdigit()]
    return [float(line) for line in numbers[-2:]]


if __name__ == "__main__":
    if sys.argv[1:]:
        main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
