"""Splits the difference of two costs into causes. Pure arithmetic; no database, no clock.

For each value of the dimension, the cost of a period is a product and a sum:

    calls x known share x sum over models (model's share x tokens per call x cost per token)

The factors are replaced one after another, in the order of `_chain`, and each replacement is one
cause. So the causes add up, and nothing is left as "interaction". A model, a kind of token or a
tier that is new has no earlier rate; its own rate of now is used, so it does not count as a change
of price.

Every contribution is rounded to `SCALE` decimals, or to more if the costs have more. What rounding
leaves over, a few units of the last decimal, is added to the largest contribution of the same
value. So the contributions of a value add up to its difference to the last digit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.why.cells import EXACT, Model
from tokenledger_exporter.queries.why.rates import rate_changes
from tokenledger_exporter.queries.why.results import Cause, Driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tokenledger_exporter.queries.why.cells import Cell, Cells

SCALE: Final = 18
"""Decimals of a contribution."""

_ZERO: Final = Decimal(0)
_NO_MODEL: Final = Model("", "")
_MILLION: Final = Decimal(1_000_000)
_SHOWN: Final = Decimal("0.000001")

Contribution = tuple[str, Driver]
"""A kind of cause, and a part of it."""


def causes_of(before: Cells, after: Cells, more: Iterable[Contribution] = ()) -> tuple[Cause, ...]:
    """The causes of the difference of two periods, largest first.

    Args:
        before: the cells of the preceding period.
        after: the cells of the period.
        more: contributions that no cell has.

    Returns:
        Causes whose `change_usd` add up exactly to the difference of the cells' costs, plus `more`.
    """
    drivers: defaultdict[str, list[Driver]] = defaultdict(list)
    for value in dict.fromkeys([*after, *before]):
        for kind, driver in _of_value(value, before.get(value, {}), after.get(value, {})):
            drivers[kind].append(driver)
    for kind, driver in more:
        drivers[kind].append(driver)
    causes = [
        Cause(kind, _sum(d.change_usd for d in of), _ranked(of)) for kind, of in drivers.items()
    ]
    return tuple(sorted(causes, key=lambda cause: (_size_down(cause.change_usd), cause.kind)))


def _of_value(
    value: str, before: Mapping[Model, Cell], after: Mapping[Model, Cell]
) -> Iterator[Contribution]:
    """The contributions of one value, rounded so that they add up to its difference."""
    difference = EXACT.subtract(_cost(after), _cost(before))
    raw = [(kind, driver) for kind, driver in _chain(value, before, after) if driver.change_usd]
    costs = [cell.cost_usd for cell in (*before.values(), *after.values())]
    unit = Decimal(1).scaleb(-max([SCALE, *map(_decimals, costs)]))
    changes = [EXACT.quantize(driver.change_usd, unit) for _, driver in raw]
    if changes:
        largest = max(range(len(changes)), key=lambda number: changes[number].copy_abs())
        rest = EXACT.subtract(difference, _sum(changes))
        changes[largest] = EXACT.add(changes[largest], rest)
    for (kind, driver), change in zip(raw, changes, strict=True):
        if change:
            yield kind, replace(driver, change_usd=_plain(change))


def _chain(
    value: str, before: Mapping[Model, Cell], after: Mapping[Model, Cell]
) -> Iterator[Contribution]:
    """The contributions of one value, unrounded: each factor replaced after the other."""
    calls = _calls(before), _calls(after)
    known = _known(before), _known(after)
    cost = _cost(before), _cost(after)
    if not calls[0] or not calls[1]:
        kind = "lost" if calls[0] else "new"
        yield kind, _driver(value, _NO_MODEL, EXACT.subtract(cost[1], cost[0]))
        return
    shares = EXACT.divide(known[0], calls[0]), EXACT.divide(known[1], calls[1])
    if not known[0] or not known[1]:
        change = EXACT.subtract(cost[1], cost[0])
        yield "coverage", _driver(value, _NO_MODEL, change, *shares)
        return
    average = EXACT.divide(cost[0], known[0])
    expected = EXACT.multiply(calls[1], shares[0])
    change = EXACT.multiply(EXACT.subtract(expected, known[0]), average)
    yield "calls", _driver(value, _NO_MODEL, change, *calls)
    change = EXACT.multiply(EXACT.subtract(known[1], expected), average)
    yield "coverage", _driver(value, _NO_MODEL, change, *shares)
    yield from _model_mix(value, before, after, average)
    for model in (name for name in after if name in before):
        if before[model].known_calls and after[model].known_calls:
            yield from _of_model(value, model, before[model], after[model])


def _model_mix(
    value: str, before: Mapping[Model, Cell], after: Mapping[Model, Cell], average: Decimal
) -> Iterator[Contribution]:
    """The change of each model's share of the calls, at its cost per call less the average."""
    known = _known(before), _known(after)
    for model in dict.fromkeys([*after, *before]):
        cells = before.get(model), after.get(model)
        counts = [Decimal(cell.known_calls if cell else 0) for cell in cells]
        if not any(counts):
            continue
        shares = EXACT.divide(counts[0], known[0]), EXACT.divide(counts[1], known[1])
        cell = cells[0] if cells[0] and cells[0].known_calls else cells[1]
        cost = cell.cost_per_call if cell else average
        change = EXACT.multiply(EXACT.subtract(shares[1], shares[0]), known[1])
        change = EXACT.multiply(change, EXACT.subtract(cost, average))
        yield "model_mix", _driver(value, model, change, *shares)


def _of_model(value: str, model: Model, before: Cell, after: Cell) -> Iterator[Contribution]:
    """The change of one model's cost per call: tokens, then cost per token."""
    calls = Decimal(after.known_calls)
    per_call = before.cost_per_call, after.cost_per_call
    if not before.tokens or not after.tokens:
        kind = "other" if before.tiers and after.tiers else "rate"
        change = EXACT.multiply(calls, EXACT.subtract(per_call[1], per_call[0]))
        yield kind, _driver(value, model, change)
        return
    tokens = [EXACT.divide(Decimal(c.tokens or 0), c.known_calls) for c in (before, after)]
    rates = [EXACT.divide(cost, number) for cost, number in zip(per_call, tokens, strict=True)]
    change = EXACT.multiply(EXACT.multiply(calls, EXACT.subtract(tokens[1], tokens[0])), rates[0])
    yield "tokens", _driver(value, model, change, *tokens)
    if not before.tiers or not after.tiers:
        change = EXACT.multiply(
            EXACT.multiply(calls, tokens[1]), EXACT.subtract(rates[1], rates[0])
        )
        yield (
            "rate",
            _driver(value, model, change, *(EXACT.multiply(rate, _MILLION) for rate in rates)),
        )
        return
    for part in rate_changes(before.tiers, after.tiers):
        change = EXACT.multiply(Decimal(after.tokens), part.change)
        yield part.kind, _driver(value, model, change, part.before, part.after, tier=part.tier)


def _driver(  # noqa: PLR0913 - one argument per field
    value: str,
    model: Model,
    change: Decimal,
    before: Decimal | None = None,
    after: Decimal | None = None,
    *,
    tier: str = "",
) -> Driver:
    return Driver(value, model.provider, model.model, tier, change, _short(before), _short(after))


def _short(figure: Decimal | None) -> Decimal | None:
    """A figure to show, with six decimals."""
    return None if figure is None else _plain(EXACT.quantize(figure, _SHOWN))


def _plain(amount: Decimal) -> Decimal:
    """The amount without trailing zeros, and without an exponent."""
    short = EXACT.normalize(amount)
    return short if _decimals(short) > 0 else EXACT.quantize(short, Decimal(1))


def _size_down(change: Decimal) -> Decimal:
    """A sort key, largest size first; `abs` and `-` round in the app's context."""
    return change.copy_abs().copy_negate()


def _ranked(drivers: list[Driver]) -> tuple[Driver, ...]:
    return tuple(
        sorted(
            drivers,
            key=lambda d: (_size_down(d.change_usd), d.value, d.provider, d.model, d.service_tier),
        )
    )


def _sum(changes: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for change in changes:
        total = EXACT.add(total, change)
    return total


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _calls(cells: Mapping[Model, Cell]) -> Decimal:
    return Decimal(sum(cell.calls for cell in cells.values()))


def _known(cells: Mapping[Model, Cell]) -> Decimal:
    return Decimal(sum(cell.known_calls for cell in cells.values()))


def _cost(cells: Mapping[Model, Cell]) -> Decimal:
    return _sum(cell.cost_usd for cell in cells.values())
