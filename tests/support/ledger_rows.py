"""Creates records and rows for tests, with defaults for everything."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psycopg

from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

HEADER = SpoolHeader(format_version=FORMAT_VERSION, ledger="test")

_books: list[PriceBook] = []


def package_book(_provider: str = "") -> PriceBook:
    """The installed package's prices, loaded once per run."""
    if not _books:
        _books.append(PriceBook(package_rows()))
    return _books[0]


def chat_attributes(**more: AttributeValue) -> dict[str, AttributeValue]:
    """A gpt-4o call with 1,000 input and 100 output tokens; keywords use `__` for dots."""
    values: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: "gpt-4o",
        attributes.INPUT_TOKENS: 1_000,
        attributes.OUTPUT_TOKENS: 100,
    }
    return values | {key.replace("__", "."): value for key, value in more.items()}


def ask(database_url: str, question: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(question.encode()).fetchall()


def record(
    span_attributes: dict[str, AttributeValue] | None = None,
    *,
    failed: bool = False,
    start_ns: int | None = None,
    resource: dict[str, str] | None = None,
) -> SpanRecord:
    """An ended span of one second with random ids."""
    start = time.time_ns() if start_ns is None else start_ns
    return SpanRecord(
        trace_id=os.urandom(16),
        span_id=int.from_bytes(os.urandom(8), "big"),
        parent_span_id=0,
        start_ns=start,
        end_ns=start + 1_000_000_000,
        scope="tokenledger.openai",
        failed=failed,
        attributes=chat_attributes() if span_attributes is None else span_attributes,
        resource=resource or {},
    )


def build_row(
    span: SpanRecord, header: SpoolHeader, prices_of: Callable[[str], PriceBook]
) -> LedgerRow | None:
    """The row of a span that gives at most one."""
    rows = build_rows(span, header, prices_of)
    assert len(rows) <= 1
    return rows[0] if rows else None


def row(
    span_attributes: dict[str, AttributeValue] | None = None, *, failed: bool = False
) -> LedgerRow:
    """The priced row of a span."""
    priced = build_row(record(span_attributes, failed=failed), HEADER, package_book)
    assert priced is not None
    return priced
