"""Draw the table and the plot of docs/guides/notebooks.md: `python -m scripts.draw_notebook`.

They show a sample ledger that is the same every time. A test compares both with the page.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from IPython.core.formatters import HTMLFormatter

from tokenledger_exporter.db.connection import reading
from tokenledger_exporter.demo.sample_ledger import fill_sample_ledger
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.queries.report import ReportRequest, build_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tokenledger_exporter.queries.report import Report

_DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = _DOCS / "guides" / "notebooks.md"
PICTURE: Final = _DOCS / "assets" / "notebook.svg"
NOW: Final = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
"""The end of the sample ledger."""

_DAYS: Final = 14
_START, _END = "<!-- table -->\n", "\n<!-- end of table -->"


def sample_report(database_url: str) -> Report:
    """The report by feature of a migrated ledger that is filled with the sample.

    Args:
        database_url: an empty ledger.
    """
    fill_sample_ledger(database_url, now=NOW, days=_DAYS)
    request = ReportRequest(["feature"], NOW - timedelta(days=_DAYS), NOW)
    with reading(database_url) as connection, connection.transaction():
        return build_report(connection, request)


def table_of_page() -> str:
    """The table that the page has."""
    page = PAGE.read_text(encoding="utf-8")
    return page.partition(_START)[2].partition(_END)[0]


def shown(report: Report) -> str:
    """The HTML that IPython shows."""
    return str(HTMLFormatter()(report))


def fingerprint(report: Report) -> str:
    """What the picture says about its figures: it changes when one of them does."""
    text = json.dumps(report.to_records(), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Write the table and the plot."""
    with temporary_postgres() as url:
        migrate(url)
        report = sample_report(url)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_START)
    if _END not in rest:
        raise ValueError(f"{PAGE} has no place for the table")
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_START}{shown(report)}{_END}{after}", encoding="utf-8")
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tokenledger"
    figure: Figure = report.plot().figure  # type: ignore[assignment]
    metadata = {"Date": None, "Description": fingerprint(report)}
    figure.savefig(PICTURE, metadata=metadata)  # pyright: ignore[reportUnknownMemberType] - its kwargs


if __name__ == "__main__":
    main()
