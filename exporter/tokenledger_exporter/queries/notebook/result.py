"""`NotebookResult`: what every result of a query can do in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_exporter.queries.notebook.flat import flat_record
from tokenledger_exporter.queries.notebook.html import html_table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from matplotlib.axes import Axes

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.notebook.flat import Record


class NotebookResult:
    """A result that a notebook shows as a table; it becomes a data frame or a plot on request."""

    __slots__ = ()

    def to_records(self) -> list[Record]:
        """Its rows as flat dicts; one if it is a single row itself. Money is `Decimal`."""
        return [flat_record(self)]

    def to_pandas(self) -> pd.DataFrame:
        """A pandas data frame; money is `Decimal` in columns of objects, and unknown is `None`.

        Raises:
            InvalidRequestError: pandas is not installed.
        """
        from tokenledger_exporter.queries.notebook.frames import pandas_frame

        return pandas_frame(self.to_records())

    def to_polars(self) -> pl.DataFrame:
        """A polars data frame; money is `Decimal(38, scale)` with all digits, unknown is null.

        Raises:
            InvalidRequestError: polars is not installed, or a cost has more than 38 digits.
        """
        from tokenledger_exporter.queries.notebook.frames import polars_frame

        return polars_frame(self.to_records())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the costs in US dollars: bars for groups, lines for hours, days and months.

        A cost that is not known is marked with a question mark, and is no bar or point.

        Args:
            ax: where to draw; by default a new figure.

        Raises:
            InvalidRequestError: matplotlib is not installed, or the result has no costs.
        """
        from tokenledger_exporter.queries.notebook.plots import draw

        return draw(self._shown_records(), self._sentences(), ax)

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        return html_table(self._shown_records(), self._sentences())

    def _shown_records(self) -> list[Record]:
        """The rows of the table and of the plot."""
        return self.to_records()

    def _sentences(self) -> list[str]:
        """What a reader of the figures must know: the coverage."""
        coverage: Coverage | None = getattr(self, "coverage", None)
        return [coverage.sentence] if coverage else []
