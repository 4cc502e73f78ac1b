"""Renders rows as a Parquet file; needs pyarrow, the extra `archive`.

Money is text with all its digits, as in CSV and JSON: a decimal column has one scale for all rows.
Counts are 64-bit integers, times are UTC, and what is not known is null.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.calls import CALL_COLUMNS
from tokenledger_exporter.queries.lists.runs import RUN_LIST_COLUMNS
from tokenledger_exporter.render.calls import plain_call
from tokenledger_exporter.render.report import as_document
from tokenledger_exporter.render.run_list import plain_run, run_list_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tokenledger_exporter.queries.lists.runs import RunPage
    from tokenledger_exporter.queries.report import Report

_COUNTS: Final = frozenset({"calls", "without_cost", "steps", "errors", "not_settled"})
_FLAGS: Final = frozenset({"has_users", "has_features"})
_TIMES: Final = frozenset({"timestamp", "started_at", "ended_at"})
_DURATIONS: Final = frozenset({"duration_ms", "duration_seconds"})
_METADATA: Final = b"tokenledger"


def report_parquet(report: Report) -> bytes:
    """The groups of a report; the metadata key `tokenledger` has the rest of its JSON document.

    Raises:
        InvalidRequestError: pyarrow is not installed.
    """
    document = as_document(report)
    # Without dimensions, the total is the only row.
    rows = document.pop("rows") if report.by else [document["totals"]]
    figures = list(document["totals"])
    return _file([*report.by, *figures], rows, set(report.by), document)


def calls_parquet(calls: Iterable[Mapping[str, Any]]) -> bytes:
    """Single calls with `CALL_COLUMNS`.

    Raises:
        InvalidRequestError: pyarrow is not installed.
    """
    rows = [{**plain_call(call), "timestamp": call["timestamp"]} for call in calls]
    return _file(CALL_COLUMNS, rows, set(), {})


def runs_parquet(page: RunPage) -> bytes:
    """A list of runs; the metadata key `tokenledger` has its total and its coverage.

    Raises:
        InvalidRequestError: pyarrow is not installed.
    """
    rows = [
        {**plain_run(run), "started_at": run.started_at, "ended_at": run.ended_at}
        for run in page.runs
    ]
    document = run_list_document(page)
    document.pop("runs")
    return _file(RUN_LIST_COLUMNS, rows, set(), document)


def _file(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    labels: set[str],
    metadata: Mapping[str, Any],
) -> bytes:
    if importlib.util.find_spec("pyarrow") is None:
        raise InvalidRequestError(
            "--format parquet needs pyarrow: run \"pip install 'tokenledger-otel[archive]'\""
        )
    # Any: pyarrow has no types, and is only installed with the extra `archive`.
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    schema = arrow.schema(
        [(name, arrow.string() if name in labels else _type(arrow, name)) for name in columns]
    )
    if metadata:
        schema = schema.with_metadata({_METADATA: json.dumps(metadata).encode()})
    values = [[_value(row[name]) for row in rows] for name in columns]
    stream = io.BytesIO()
    parquet.write_table(arrow.table(values, schema=schema), stream)
    return stream.getvalue()


def _type(arrow: Any, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    if name in _FLAGS:
        return arrow.bool_()
    if name in _DURATIONS:
        return arrow.float64()
    if name in _TIMES:
        return arrow.timestamp("us", tz="UTC")
    return arrow.int64() if name in _COUNTS or name.endswith("_tokens") else arrow.string()


def _value(value: object) -> object:
    """A value as its column takes it; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value if value is None or isinstance(value, (int, float, datetime)) else str(value)
