"""Charts as SVG made on the server: exact values in titles, and the same figures in a table."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 720
_HEIGHT: Final = 180
_GAP_SHARE: Final = Decimal("0.2")
_STEPS: Final = (Decimal(1), Decimal(2), Decimal(5), Decimal(10))


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart, in the units of its view box.

    Args:
        label: what it stands for.
        value: its figure; `None` if it is not known.
    """

    label: str
    value: Decimal | None
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars from left to right, and the top of their scale."""

    bars: tuple[Bar, ...]
    top: Decimal
    width: int = _WIDTH
    height: int = _HEIGHT


def bar_chart(values: Sequence[tuple[str, Decimal | None]]) -> BarChart:
    """A chart of labeled values; an unknown value has no bar."""
    top = round_up(max((value for _, value in values if value is not None), default=Decimal(0)))
    slot = Decimal(_WIDTH) / max(len(values), 1)
    bars: list[Bar] = []
    for number, (label, value) in enumerate(values):
        height = _HEIGHT * (value or 0) / top if top else Decimal(0)
        bars.append(
            Bar(
                label=label,
                value=value,
                x=float(slot * number + slot * _GAP_SHARE / 2),
                y=float(_HEIGHT - height),
                width=float(slot * (1 - _GAP_SHARE)),
                height=float(height),
            )
        )
    return BarChart(tuple(bars), top)


def round_up(value: Decimal) -> Decimal:
    """The next 1, 2 or 5 times a power of ten: a scale that is easy to read."""
    if value <= 0:
        return Decimal(0)
    unit = Decimal(1).scaleb(value.adjusted())
    return next(unit * step for step in _STEPS if unit * step >= value)
