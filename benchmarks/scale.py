"""What a call costs to keep, and what that comes to at 10^6, 10^9 and 10^12 calls a month.

`python -m benchmarks.scale` measures every factor of the formula in docs/operations/scale.md: CPU
time of `tokenledger serve` and of Postgres for a row, bytes of table, indexes and write-ahead log.
What a core and a gigabyte cost is the reader's own: `--core-hour`, `--gigabyte-month`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from benchmarks import children
from benchmarks.sending import write_bodies
from benchmarks.spans import chat_spans
from collectors.otelcol import Service
from support.ledger_rows import ask
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

_A_REQUEST: Final = 100
_CONNECTIONS: Final = 32
_SECONDS_A_MONTH: Final = 365.25 / 12 * 86_400
_MILLISECOND: Final = 1_000_000
_GIGABYTE: Final = 10**9
_CALLS: Final = (10**6, 10**9, 10**12)


@dataclass(frozen=True)
class Factors:
    """What one call takes.

    Args:
        service_us: CPU time of the service, microseconds.
        postgres_us: CPU time of Postgres, microseconds.
        table_bytes: what the row takes in its table.
        index_bytes: what its entries take in the indexes.
        log_bytes: what is written to the write-ahead log.
    """

    service_us: float
    postgres_us: float
    table_bytes: float
    index_bytes: float
    log_bytes: float

    @property
    def core_seconds(self) -> float:
        """CPU time of both, seconds."""
        return (self.service_us + self.postgres_us) / 1e6


@dataclass(frozen=True)
class Bill:
    """What so many calls a month come to.

    Args:
        calls_a_second: on average.
        cores: busy at the peak.
        gigabytes: in the ledger, once the oldest month is dropped.
        dollars_a_month: of cores and gigabytes.
        dollars_a_million: the same for a million calls.
    """

    calls_a_second: float
    cores: float
    gigabytes: float
    dollars_a_month: float
    dollars_a_million: float


@dataclass(frozen=True)
class Terms:
    """What is the reader's own.

    Args:
        core_hour: dollars a core and hour.
        gigabyte_month: dollars a gigabyte and month.
        months_kept: before the oldest month goes.
        peak: the busiest second over the average.
    """

    core_hour: float
    gigabyte_month: float
    months_kept: float
    peak: float


def bill(factors: Factors, calls_a_month: float, terms: Terms) -> Bill:
    """The formula of docs/operations/scale.md; cores run all month for the peak."""
    calls_a_second = calls_a_month / _SECONDS_A_MONTH
    cores = calls_a_second * terms.peak * factors.core_seconds
    row_bytes = factors.table_bytes + factors.index_bytes
    kept = calls_a_month * terms.months_kept * row_bytes / _GIGABYTE
    hours = _SECONDS_A_MONTH / 3_600
    dollars = cores * hours * terms.core_hour + kept * terms.gigabyte_month
    return Bill(calls_a_second, cores, kept, dollars, dollars / calls_a_month * 1e6)


def measure(count: int) -> Factors:
    """Send so many spans through a real service into a real Postgres."""
    # Of just now, as traffic is: what arrives an hour late is summed up by another way.
    spans = chat_spans(count, ago_ns=count * _MILLISECOND)
    bodies = [
        encode_spans(spans[start : start + _A_REQUEST]).SerializeToString()
        for start in range(0, count, _A_REQUEST)
    ]
    with temporary_postgres() as url, tempfile.TemporaryDirectory() as folder:
        migrate(url)
        file = Path(folder) / "bodies"
        # The first fills caches, prices among them; it is not counted.
        write_bodies(file, bodies[:1])
        service = Service(url, Path(folder))
        service.start()
        try:
            _send(service, file)
            postmaster = _postmaster(url)
            write_bodies(file, bodies[1:])
            log, rows = _log_position(url), _rows(url)
            service_cpu, postgres_cpu = _cpu(service.pid), _cpu(postmaster)
            _send(service, file)
            service_cpu = _cpu(service.pid) - service_cpu
            postgres_cpu = _cpu(postmaster) - postgres_cpu
            written = _rows(url) - rows
            log = _log_position(url) - log
        finally:
            service.stop()
        [(table, indexes)] = ask(
            url,
            "SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid))"
            " FROM pg_partition_tree('token_ledger_events') WHERE isleaf",
        )
        total = _rows(url)
    return Factors(
        service_cpu / written * 1e6,
        postgres_cpu / written * 1e6,
        float(table) / total,
        float(indexes) / total,
        log / written,
    )


def _send(service: Service, file: Path) -> None:
    port = service.endpoint.rpartition(":")[2]
    words = (sys.executable, "-m", "benchmarks.sending", port, str(file), str(_CONNECTIONS), "0")
    subprocess.run(words, check=True, capture_output=True, env=children.environment())


def _rows(url: str) -> int:
    return int(ask(url, "SELECT count(*) FROM token_ledger_events")[0][0])


def _log_position(url: str) -> int:
    return int(ask(url, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


def _postmaster(url: str) -> int:
    """The parent of whatever answers us."""
    with psycopg.connect(url) as connection:
        return _parents()[connection.info.backend_pid]


def _parents() -> dict[int, int]:
    """The parent of every process."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It ended meanwhile.
    return found


def _cpu(pid: int) -> float:
    """CPU time of a process and all below it, seconds, those that ended among them."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for child, parent in _parents().items():
        children[parent].append(child)
    seconds, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children[one]
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(int(field) for field in fields[11:15])
        seconds += ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def main() -> None:
    """Measure, and print the factors and the bills."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    asked.add_argument("--calls", type=int, default=40_000, help="calls that are measured")
    asked.add_argument("--core-hour", type=float, default=0.05, help="dollars a core and hour")
    asked.add_argument("--gigabyte-month", type=float, default=0.12, help="dollars")
    asked.add_argument("--months-kept", type=float, default=13, help="before the oldest goes")
    asked.add_argument("--peak", type=float, default=3, help="busiest second over the average")
    arguments = asked.parse_args()
    factors = measure(arguments.calls)
    print(f"a call, of {arguments.calls:,} in requests of {_A_REQUEST}:")
    print(
        f"  CPU {factors.service_us:.0f} us in the service, {factors.postgres_us:.0f} us in"
        f" Postgres: {1 / factors.core_seconds:,.0f} rows a second and core"
    )
    print(
        f"  {factors.table_bytes:.0f} bytes in the table, {factors.index_bytes:.0f} in indexes,"
        f" {factors.log_bytes:.0f} in the log"
    )
    for calls in _CALLS:
        made = bill(
            factors,
            calls,
            Terms(
                arguments.core_hour, arguments.gigabyte_month, arguments.months_kept, arguments.peak
            ),
        )
        print(
            f"{calls:>18,} calls a month: {made.calls_a_second:,.1f} a second, "
            f"{made.cores:,.3f} cores at the peak, {made.gigabytes:,.1f} GB kept, "
            f"{made.dollars_a_month:,.2f} dollars a month, {made.dollars_a_million:.4f} a million"
        )


if __name__ == "__main__":
    main()
