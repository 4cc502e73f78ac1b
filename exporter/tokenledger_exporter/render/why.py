"""Renders why a cost changed as a table, CSV, JSON or Markdown; money is text with all digits."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.plain_text import counted, markdown_cell, visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.queries.why.results import UNITS
from tokenledger_exporter.render.columns import Column, draw_table
from tokenledger_exporter.render.table import write_csv

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.why import Cause, Driver, WhyReport

DRIVERS_SHOWN: Final = 3
"""Drivers of a cause in a table; CSV and JSON have more."""

_DRIVER_COLUMNS: Final = ("provider", "model", "service_tier", "change_usd", "before", "after")
_NO_VALUE: Final = "-"
_SHARE: Final = "share"


def render_why(report: WhyReport, shape: str, *, limit: int = 100) -> str:
    """The report as text, ending with a line break.

    Args:
        report: what to print.
        shape: table, csv, json or md.
        limit: maximum number of drivers of a cause in CSV and JSON.
    """
    if shape == "json":
        return json.dumps(why_document(report, limit=limit), indent=2) + "\n"
    if shape == "csv":
        return _csv(report, limit)
    return _markdown(report) if shape == "md" else _table(report)


def why_document(report: WhyReport, *, limit: int = 100) -> dict[str, Any]:
    """The JSON document: both periods, and the causes with their drivers; money as strings.

    Args:
        report: what it describes.
        limit: maximum number of drivers of a cause; `more_drivers` counts the others.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "by": report.by,
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "compared_since": report.compared_since.isoformat(),
        "compared_until": report.compared_until.isoformat(),
        **({"where": {k: list(v) for k, v in report.where.items()}} if report.where else {}),
        "cost_usd": _plain(report.known_cost_usd),
        "previous_cost_usd": _plain(report.known_previous_cost_usd),
        "change_usd": _plain(report.change_usd),
        "calls": report.calls,
        "previous_calls": report.previous_calls,
        "is_detailed": report.is_detailed,
        "causes": [_cause_document(report, cause, limit) for cause in report.causes],
        "coverage": _coverage(report.coverage),
        "previous_coverage": _coverage(report.previous_coverage),
        "notes": list(report.notes),
    }


def _cause_document(report: WhyReport, cause: Cause, limit: int) -> dict[str, Any]:
    unit = UNITS.get(cause.kind)
    return {
        "cause": cause.kind,
        "label": cause.label,
        "change_usd": plain_usd(cause.change_usd),
        **({"unit": unit} if unit else {}),
        "drivers": [_driver_document(report, driver) for driver in cause.drivers[:limit]],
        "more_drivers": max(0, len(cause.drivers) - limit),
    }


def _driver_document(report: WhyReport, driver: Driver) -> dict[str, Any]:
    return {report.by: driver.value} | {
        name: value if isinstance(value, str) else _plain(value)
        for name in _DRIVER_COLUMNS
        if (value := getattr(driver, name)) is not None and value != ""
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return {**asdict(coverage), "calls": coverage.calls, "sentence": coverage.sentence}


def _csv(report: WhyReport, limit: int) -> str:
    """One row per driver; the changes of all drivers add up to the difference."""
    rows = [
        [cause.kind, driver.value, *(_cell(getattr(driver, name)) for name in _DRIVER_COLUMNS)]
        for cause in report.causes
        for driver in cause.drivers[:limit]
    ]
    # A name that is a column already, such as `model`, is there once more for the dimension.
    first = f"value_of_{report.by}" if report.by in _DRIVER_COLUMNS else report.by
    return write_csv(["cause", first, *_DRIVER_COLUMNS], rows)


def _cell(value: str | Decimal | None) -> str:
    return value if isinstance(value, str) else _plain(value) or ""


def _table(report: WhyReport) -> str:
    """A row per driver; a cause and its change are on the first row of its drivers."""
    rows = [
        (cause.label if not number else "", f"{cause.change_usd:+,.6f}" if not number else "", text)
        for cause in report.causes
        for number, text in enumerate(_drivers(report, cause))
    ]
    labels, changes, texts = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [
        Column("cause", labels, footer="difference"),
        Column("change $", changes, footer=_signed(report.change_usd), is_number=True),
        Column("driven by", [visible(text) for text in texts]),
    ]
    lines = [*_heading(report), "", *([draw_table(columns)] if rows else [])]
    return "\n".join([*lines, *_coverage_lines(report), ""])


def _markdown(report: WhyReport) -> str:
    lines = [
        *(markdown_cell(line) for line in _heading(report)),
        "",
        "| cause | change_usd | driven by |",
        "| --- | ---: | --- |",
        *(
            f"| {markdown_cell(cause.label)} | {plain_usd(cause.change_usd)} "
            f"| {markdown_cell('; '.join(_drivers(report, cause)))} |"
            for cause in report.causes
        ),
        f"| **difference** | {_plain(report.change_usd) or 'unknown'} |  |",
        "",
    ]
    return "\n".join([*lines, *_coverage_lines(report), ""])


def _heading(report: WhyReport) -> list[str]:
    now = _dollars(report.known_cost_usd, report.coverage)
    before = _dollars(report.known_previous_cost_usd, report.previous_coverage)
    since, until = _moment(report.since), _moment(report.until)
    start, end = _moment(report.compared_since), _moment(report.compared_until)
    return [
        f"{since} to {until}: {now}, {counted(report.calls, 'call')}",
        f"{start} to {end}: {before}, {counted(report.previous_calls, 'call')}",
    ]


def _coverage_lines(report: WhyReport) -> list[str]:
    return [
        report.coverage.sentence,
        f"preceding period: {report.previous_coverage.sentence.removeprefix('coverage: ')}",
    ]


def _drivers(report: WhyReport, cause: Cause) -> list[str]:
    shown = [driver_text(report, cause, driver) for driver in cause.drivers[:DRIVERS_SHOWN]]
    more = len(cause.drivers) - len(shown)
    return [*shown, f"{more:,} more"] if more else shown


def driver_text(report: WhyReport, cause: Cause, driver: Driver) -> str:
    """A driver as a phrase, such as `chat, gpt-4o +1.20 (1,000 to 2,000 tokens per call)`."""
    if cause.kind == "removed":
        return "calls that retention removed"
    names = [driver.value or _NO_VALUE]
    if driver.model and report.by != "model":
        names.append(driver.model)
    if cause.kind in {"service_tier", "price"}:
        names.append(f"tier {driver.service_tier or 'standard'}")
    text = f"{', '.join(names)} {driver.change_usd:+,.4f}"
    if driver.before is None or driver.after is None:
        return text
    figures = driver_figures(cause, driver)
    return f"{text} ({' to '.join(figures)})" if figures[0] != figures[1] else text


def driver_figures(cause: Cause, driver: Driver) -> tuple[str, str]:
    """The figure that changed, in the preceding period and in the period; empty without one."""
    if driver.before is None or driver.after is None:
        return "", ""
    unit = UNITS[cause.kind]
    return _figure(driver.before, unit), _figure(driver.after, unit)


def _figure(figure: Decimal, unit: str) -> str:
    if unit.startswith(_SHARE):
        return f"{figure:.1%}"
    return f"{figure:,.0f}" if unit != UNITS["price"] else f"${figure:,.4f}/M"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def _dollars(amount: Decimal | None, coverage: Coverage) -> str:
    if amount is None:
        return "cost unknown"
    return f"${amount:,.6f}{'+' if coverage.without_cost else ''}"


def _signed(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:+,.6f}"


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain_usd(amount)
