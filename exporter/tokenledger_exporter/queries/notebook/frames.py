"""Records as data frames of pandas and polars; no digit of a cost is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import polars as pl

    from tokenledger_exporter.queries.notebook.flat import Record

_PRECISION: Final = 38


def missing(package: str) -> InvalidRequestError:
    """The error for a package that is not installed."""
    return InvalidRequestError(
        f"{package} is not installed: run pip install 'tokenledger-otel[notebook]', or pip install "
        f"{package}"
    )


def pandas_frame(records: Sequence[Record]) -> pd.DataFrame:
    """The records; columns of money hold `Decimal` objects.

    Raises:
        InvalidRequestError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise missing("pandas") from None
    columns = {
        name: pd.Series(
            [record[name] for record in records],
            dtype="object" if _is_decimal(records, name) else None,
        )
        for name in (records[0] if records else ())
    }
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def polars_frame(records: Sequence[Record]) -> pl.DataFrame:
    """The records; columns of money are decimals with the scale of their longest value.

    Raises:
        InvalidRequestError: polars is not installed, or a value has more than 38 digits.
    """
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise missing("polars") from None
    series: list[pl.Series] = []
    for name in records[0] if records else ():
        values: list[Any] = [record[name] for record in records]
        if _is_decimal(records, name):
            kind = pl.Decimal(_PRECISION, _scale(name, values))
            series.append(pl.Series(name, values, dtype=kind))
        else:
            series.append(pl.Series(name, values))
    return pl.DataFrame(series)


def _is_decimal(records: Sequence[Record], name: str) -> bool:
    """Whether a column is of money; one without any known cost is too."""
    values = [record[name] for record in records]
    return all(value is None or isinstance(value, Decimal) for value in values) and bool(values)


def _scale(name: str, values: Sequence[Decimal | None]) -> int:
    """The most decimals of a column.

    Raises:
        InvalidRequestError: the longest value does not fit with that many decimals.
    """
    known = [value for value in values if value is not None]
    scale = max((_decimals(value) for value in known), default=0)
    whole = max((value.adjusted() + 1 for value in known if value), default=0)
    if scale + max(whole, 0) > _PRECISION:
        raise InvalidRequestError(
            f"column {name!r} needs more than {_PRECISION} digits, the most of polars: use "
            "to_pandas(), which has no limit"
        )
    return scale


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
