"""Whose cost changed: the values of a dimension with their parts of a difference."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.price_row import MONEY

if TYPE_CHECKING:
    from tokenledger_exporter.queries.why.results import WhyReport

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Contributor:
    """One value of the dimension of a report.

    Args:
        value: the value; "" for calls that have none.
        change_usd: how much its cost changed, US dollars.
    """

    value: str
    change_usd: Decimal


def contributors(report: WhyReport) -> list[Contributor]:
    """The values of a report with their parts of the difference, in the direction of it.

    All values together make up the difference: a value's part is the sum of its parts of all
    causes. Those that work against the difference come last.
    """
    changes: dict[str, Decimal] = {}
    for cause in report.causes:
        for driver in cause.drivers:
            changes[driver.value] = MONEY.add(changes.get(driver.value, _ZERO), driver.change_usd)
    sign = -1 if (report.change_usd or _ZERO) < 0 else 1
    ordered = sorted(changes.items(), key=lambda each: (-sign * each[1], each[0]))
    return [Contributor(value, change) for value, change in ordered if change]
