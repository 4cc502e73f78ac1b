"""From a request's records to rows, each record's fault its own.

A record that cannot be read is set aside alone, and kept where an operator finds it. Where the
price look-up fails, which is a fault of ours or of the price book, the row is stored without a
price: `tokenledger reprice` can do it later.
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
class Built:
    """What became of some records.

    Args:
        records: how many of the records were looked at.
        rows: what is to be written.
        dropped: records that tell of no billable call.
        dropped_example: the last of those, in words.
        set_aside: why calls are not written -> how many.
        unreadable: records among those that cannot be read, with the reason; they are kept.
    """

    records: int = 0
    rows: list[LedgerRow] = field(default_factory=list["LedgerRow"])
    dropped: int = 0
    dropped_example: str = ""
    set_aside: Counter[str] = field(default_factory=Counter[str])
    unreadable: list[tuple[SpanRecord, str]] = field(default_factory=list["tuple[SpanRecord, str]"])


def build(
    records: Sequence[SpanRecord],
    header: SpoolHeader,
    bounds: RequestBounds,
    prices_of: Callable[[str], PriceBook],
    most_rows: int,
) -> Built:
    """The rows of some records, within the request's bounds.

    It ends where there are as many rows as asked for: a call may be billed in several.

    Raises:
        LedgerError: the prices could not be read; nothing is known of any record.
    """
    built = Built()
    for record in records:
        if len(built.rows) >= most_rows:
            break
        built.records += 1
        try:
            rows = _rows_of(record, header, prices_of)
        except SHARED_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - one record must not stop all beside it
            kind = type(error).__name__
            reason = f"the span cannot be read ({kind})"
            fail("record_unreadable", f"{reason}; it is in token_ledger_rejected", error=kind)
            built.set_aside[reason] += 1
            built.unreadable.append((record, reason))
            continue
        if not rows:
            built.dropped += 1
            built.dropped_example = described(record)
        elif reason := bounds.refuse(rows):
            built.set_aside[reason] += 1
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
    except Exception as error:  # noqa: BLE001 - whose fault it was is found out below
        kind = type(error).__name__
    # Whatever fails without prices as well is the record's own fault.
    rows = build_rows(record, header, _no_prices)
    fail("price_lookup", f"{kind} while a price was looked up, stored unpriced", error=kind)
    note = f"the price look-up failed ({kind}): run 'tokenledger reprice'"
    return [replace(row, cost_note=note) for row in rows]


def _no_prices(_provider: str) -> PriceBook:
    return _EMPTY_BOOK
