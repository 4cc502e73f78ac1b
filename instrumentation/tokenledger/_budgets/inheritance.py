"""How child processes take part in run budgets: through an environment variable, and by fork.

A forked child has the context of the code that forked it. Any other child reads the variable when
it starts. The environment belongs to the whole process. If budgets are open at the same time and
none encloses the other, such a child shares what encloses all of them, and knows that there was
more.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context

from tokenledger._budget_switch import RUN_BUDGETS_VARIABLE
from tokenledger._budgets.counter import Counter
from tokenledger._budgets.limit import Limit, Rules
from tokenledger._guard import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context

Chain = tuple[Limit, ...]
"""Run budgets, each enclosed by those before it."""

_CHAIN: Final = context.create_key("tokenledger-run-budgets")


class OpenBudgets:
    """The run budgets that are open in this process, as its children see them."""

    def __init__(self) -> None:
        self.inherited: Final[Chain] = _inherited(os.environ)
        self._chains: dict[object, Chain] = {}
        self._changing = Lock()

    def enter(self, entry: object, chain: Chain) -> None:
        """Note that a budget is open, and the budgets around it."""
        with self._changing:
            self._chains[entry] = chain
            self._publish()

    def leave(self, entry: object) -> None:
        """Note that it is closed."""
        with self._changing:
            self._chains.pop(entry, None)
            self._publish()

    def after_fork(self) -> None:
        """In a forked child: no other thread is changing anything."""
        self._changing = Lock()

    def _publish(self) -> None:
        chains = list(self._chains.values())
        ends = [each for each in chains if not any(_encloses(each, other) for other in chains)]
        shared = common(ends) if ends else self.inherited
        others = [limit for chain in ends for limit in chain if limit not in shared]
        if any(len(chain) > len(shared) for chain in ends):
            shared = (*shared, _unknown_one_of(others))
        text = encode(shared)
        if text != os.environ.get(RUN_BUDGETS_VARIABLE, ""):
            os.environ[RUN_BUDGETS_VARIABLE] = text
        if not shared:
            os.environ.pop(RUN_BUDGETS_VARIABLE, None)


def chain_in(current: Context) -> Chain:
    """The run budgets around the running code, the outermost first."""
    return cast("Chain", current.get(_CHAIN)) or OPEN.inherited


def with_chain(chain: Chain, current: Context) -> Context:
    """A context whose calls these budgets limit."""
    return context.set_value(_CHAIN, chain, current)


def encode(chain: Iterable[Limit]) -> str:
    """The value of the variable."""
    return json.dumps(
        [
            {
                "file": str((limit.counter and limit.counter.path) or ""),
                "name": limit.rules.name,
                "usd": str(limit.rules.usd),
                "unpriced": limit.rules.unpriced,
                "on_unavailable": limit.rules.on_unavailable,
            }
            for limit in chain
        ]
    )


def common(chains: Sequence[Chain]) -> Chain:
    """The budgets that enclose the innermost ones of all chains."""
    if len(chains) == 1:
        return chains[0]
    return tuple(
        limits[0] for limits in zip(*chains, strict=False) if all(x is limits[0] for x in limits)
    )


def _encloses(chain: Chain, other: Chain) -> bool:
    return len(chain) < len(other) and other[: len(chain)] == chain


def _unknown_one_of(limits: Sequence[Limit]) -> Limit:
    """Stands for a budget that a child cannot know: it has no counter, and the strictest rules."""
    rules = [limit.rules for limit in limits]
    first = min(rules, key=lambda each: each.usd)
    refuses = any(each.on_unavailable == "refuse" for each in rules)
    return Limit(Rules(first.name, first.usd, "allow", "refuse" if refuses else "allow"), None)


def _inherited(environment: Mapping[str, str]) -> Chain:
    text = environment.get(RUN_BUDGETS_VARIABLE)
    if not text:
        return ()
    try:
        return tuple(map(_limit, json.loads(text)))
    except Exception as error:  # noqa: BLE001 - the app's calls go on without the budget
        report(f"reading {RUN_BUDGETS_VARIABLE}", type(error).__name__)
        return ()


def _limit(fields: Any) -> Limit:  # noqa: ANN401 - of JSON
    rules = Rules(
        fields["name"], Decimal(fields["usd"]), fields["unpriced"], fields["on_unavailable"]
    )
    return Limit(rules, Counter(Path(fields["file"])) if fields["file"] else None)


OPEN: Final = OpenBudgets()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=OPEN.after_fork)
