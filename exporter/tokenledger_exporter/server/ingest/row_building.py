"""Builds rows from a request's records; a bad record does not affect the others.

A record that cannot be read is quarantined alone. If its price lookup fails, because of a bug or a
bad price book, the row is stored without a price, for `tokenledger reprice`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tokenledger_exporter.db.row_faults import SHARED_FAULTS
from tokenledger_exporter.dialects.operations import described
from tokenledger_exporter.log import fail
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.rating.build_rows import build_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.server.ingest.bounds import RequestBounds

_EMPTY_BOOK: Final = PriceBook(())


@dataclass(slots=True)
class BuildResult:
    """The result of building rows from some records.

    Args:
        records: number of records that were read.
        rows: the rows to write.
        dropped: number of records that describe no billable call.
        dropped_example: description of the last of them.
        quarantined: number of calls that are not written, by reason.
        unreadable: quarantined records that cannot be read, with the reason.
    """

    records: int = 0
    rows: list[LedgerRow] = field(default_factory=list["LedgerRow"])
    dropped: int = 0
    dropped_example: str = ""
    quarantined: Counter[str] = field(default_factory=Counter[str])
    unreadable: list[tuple[SpanRecord, str]] = field(default_factory=list["tuple[SpanRecord, str]"])


def build(
    records: Sequence[SpanRecord],
    header: SpoolHeader,
    bounds: RequestBounds,
    prices_of: Callable[[str], PriceBook],
    max_rows: int,
) -> BuildResult:
    """The rows of some records, within the request's bounds.

    It stops at `max_rows`, as one call may need several rows.

    Raises:
        LedgerError: the prices could not be read, which is not the fault of a record.
    """
    built = BuildResult()
    for record in records:
        if len(built.rows) >= max_rows:
            break
        built.records += 1
        try:
            rows = _rows_of(record, header, prices_of)
        except SHARED_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - one bad record must not stop the others
            kind = type(error).__name__
            reason = f"the span cannot be read ({kind})"
            fail("record_unreadable", f"{reason}; it is in token_ledger_rejected", error=kind)
            built.quarantined[reason] += 1
            built.unreadable.append((record, reason))
            continue
        if not rows:
            built.dropped += 1
            built.dropped_example = described(record)
        elif reason := bounds.refuse(rows):
            built.quarantined[reason] += 1
        else:
            built.rows += rows
    return built


def _rows_of(
    record: SpanRecord, header: SpoolHeader, prices_of: Callable[[str], PriceBook]
) -> list[LedgerRow]:
    try:
        return build_rows(record, header, prices_of)
    except SHARED_FAULTS:
        raise
    except Exception as error:  # noqa: BLE001 - the cause is determined below
        kind = type(error).__name__
    # A record that also fails without prices is itself at fault.
    rows = build_rows(record, header, _no_prices)
    fail("price_lookup", f"price lookup failed ({kind}); the row is stored unpriced", error=kind)
    note = f"the price lookup failed ({kind}): run 'tokenledger reprice'"
    return [replace(row, cost_note=note) for row in rows]


def _no_prices(_provider: str) -> PriceBook:
    return _EMPTY_BOOK
