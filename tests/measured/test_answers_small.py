"""The small form of `make bench-answers`: what a question reads, which no busy machine changes."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.answers import made_ledger, questions
from benchmarks.stream_of_calls import made_rows, of_now
from tokenledger_exporter.queries.report import report_steps
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenledger_exporter.db.steps import Statement

CALLS = 5_000
NEW = 40


def calls_read(connection: psycopg.Connection[Any], question: Statement) -> int:
    """How many rows of the ledger itself a statement reads."""
    statement = question.statement
    text = statement if isinstance(statement, bytes) else statement.as_bytes(connection)
    explained = b"EXPLAIN (ANALYZE, FORMAT JSON) " + text
    [(found,)] = connection.execute(explained, question.values).fetchall()
    return sum(
        round(node["Actual Rows"] * node["Actual Loops"])
        for node in nodes(found[0]["Plan"])
        if node.get("Relation Name", "").startswith("token_ledger_events")
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def test_a_query_reads_sums_and_later_calls(postgres_server: str) -> None:
    url = made_ledger(postgres_server, "bench_answers", CALLS)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, asked in questions().items():
            assert calls_read(connection, next(report_steps(asked))) == 0, name
        with closing(BatchWriter(url)) as writer:
            writer.write(of_now(made_rows(NEW), random.Random(1)))  # noqa: S311 - any rows do
        for name, asked in questions().items():
            # In addition to the new calls, those of the same slices: of an hour there
            # are no more than 7.
            assert NEW <= calls_read(connection, next(report_steps(asked))) <= NEW + 7, name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE bench_answers WITH (FORCE)")
