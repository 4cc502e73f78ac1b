"""`budget()`: stops the model calls of a block at a limit of US dollars."""

from __future__ import annotations

import functools
import inspect
import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from opentelemetry import context

from tokenledger._attribution import scope
from tokenledger._budget_switch import RUN_BUDGETS_VARIABLE, SWITCH
from tokenledger._budgets.counter import CAN_SHARE, MONEY, Counter
from tokenledger._budgets.estimate import price
from tokenledger._budgets.inheritance import OPEN, chain_in, encode, with_chain
from tokenledger._budgets.limit import NOTHING, Limit, Rules
from tokenledger._guard import Guard, report, warn_once
from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from tokenledger._budgets.inheritance import Chain
    from tokenledger._budgets.limit import Policy

P = ParamSpec("P")
R = TypeVar("R")

_POLICIES: Final = ("allow", "refuse")
_ABANDONED_SECONDS: Final = 7 * 86_400
# A call whose price takes the whole price list to know.
_ANY_CALL: Final = {
    names.PROVIDER_NAME: "openai",
    names.OPERATION_NAME: "chat",
    names.REQUEST_MODEL: "gpt-4o",
    names.INPUT_TOKENS: 1,
    names.OUTPUT_TOKENS: 1,
}


def budget(
    *,
    usd: str | Decimal | int,
    name: str,
    unpriced: Policy = "allow",
    on_unavailable: Policy = "allow",
) -> Budget:
    """Stop the model calls made inside a `with` block, or a decorated function, at a limit.

    A call that may pass the limit raises `BudgetExceeded` before anything is sent. What it may cost
    is reserved while it runs: a high quantile of what the last calls of the same feature and model
    cost in this process, else the price of its text and of its `max_tokens` (1,000 if it sets
    none). When it ends, it counts what it cost. Budgets nest: all of them must have room.

    Calls by threads and tasks started inside count if the context is passed on to them. Child
    processes that are started inside share the limit. It needs no database, but prices: without an
    open ledger no call has one, and `unpriced` decides. Only calls of patched SDKs are limited.

    Args:
        usd: the limit in US dollars, like `"0.50"`; greater than 0. Text, `Decimal` or a whole
            number: a float is not exact.
        name: names the budget in errors; not empty.
        unpriced: what to do with a call without a price: `allow` sends it and does not count it.
        on_unavailable: what to do with the calls of a child process that cannot open the budget:
            `allow` sends them and logs a warning, `refuse` raises `BudgetExceeded`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has an invalid value.
    """
    for argument, policy in (("unpriced", unpriced), ("on_unavailable", on_unavailable)):
        if policy not in _POLICIES:
            raise ValueError(f"budget({argument}=) must be 'allow' or 'refuse', not {policy!r}")
    return Budget(Rules(_name(name), _usd(usd), unpriced, on_unavailable))


class Budget:
    """A run budget made by `budget(...)`; it may be nested, and shared by threads.

    Entered again, it goes on with what is spent. As a decorator, each run of the function has a
    budget of its own.
    """

    __slots__ = ("_chain", "_entries", "_entry_lock", "_limit", "_rules")

    def __init__(self, rules: Rules) -> None:
        self._rules: Final = rules
        self._limit: Limit | None = None
        self._chain: Chain = ()
        self._entries = 0
        self._entry_lock: Final = Lock()

    def __repr__(self) -> str:
        """The sums so far, in one line."""
        spent, reserved = self._sums()
        return (
            f"<Budget {self.name!r}: ${spent:f} of ${self.limit_usd:f} spent, ${reserved:f} "
            "reserved>"
        )

    @property
    def name(self) -> str:
        """The name."""
        return self._rules.name

    @property
    def limit_usd(self) -> Decimal:
        """The limit, in US dollars."""
        return self._rules.usd

    @property
    def spent_usd(self) -> Decimal:
        """US dollars of the calls that ended, of all processes."""
        return self._sums()[0]

    @property
    def reserved_usd(self) -> Decimal:
        """US dollars that the calls in flight may cost, of all processes."""
        return self._sums()[1]

    @property
    def left_usd(self) -> Decimal:
        """US dollars neither spent nor reserved; below 0 if calls cost more than expected."""
        spent, reserved = self._sums()
        return MONEY.subtract(self.limit_usd, MONEY.add(spent, reserved))

    def child_environment(self) -> dict[str, str]:
        """This process's environment, for a child that shares this budget and those around it.

        A child that is started inside the block shares it anyway. A process that has several open
        at once passes this: `subprocess.run(..., env=budget.child_environment())`.
        """
        return {**os.environ, RUN_BUDGETS_VARIABLE: encode(self._chain)}

    def __enter__(self) -> Self:
        """Limit the calls from here on."""
        with Guard("entering a budget"):
            _warn_of_setup(self.name)
            _load_prices()
            self._open()
        return self

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving a budget"):
            scope.leave(self)
            self._close()

    async def __aenter__(self) -> Self:
        with Guard("loading prices"):
            # Loaded here: every SDK with an async client depends on it.
            from anyio import to_thread

            await to_thread.run_sync(_load_prices)
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine function: each run has a budget of its own."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"budget() cannot decorate the generator function {function.__name__!r}; use "
                "`with tokenledger.budget(...)` where it is consumed"
            )
        run: Any = _coroutine if inspect.iscoroutinefunction(function) else _function
        return cast("Callable[P, R]", functools.wraps(function)(run(function, self._rules)))

    def _open(self) -> None:
        with self._entry_lock:
            if not self._entries:
                spent, reserved = self._sums()
                self._limit = Limit(
                    self._rules, _new_counter(self._rules, MONEY.add(spent, reserved))
                )
            self._entries += 1
            limit = self._limit
        current = context.get_current()
        around = chain_in(current)
        chain = around if limit is None or limit in around else (*around, limit)
        self._chain = chain
        SWITCH.note_run_budget()
        scope.enter(self, with_chain(chain, current))
        OPEN.enter(self, chain)

    def _close(self) -> None:
        with self._entry_lock:
            self._entries -= 1
            if self._entries or self._limit is None or self._limit.counter is None:
                return
            OPEN.leave(self)
            self._limit.counter.remove_file()

    def _sums(self) -> tuple[Decimal, Decimal]:
        return (NOTHING, NOTHING) if self._limit is None else self._limit.sums()


def _function(function: Callable[..., Any], rules: Rules) -> Callable[..., Any]:
    def limited(*args: object, **kwargs: object) -> object:
        with Budget(rules):
            return function(*args, **kwargs)

    return limited


def _coroutine(function: Callable[..., Any], rules: Rules) -> Callable[..., Any]:
    async def limited(*args: object, **kwargs: object) -> object:
        async with Budget(rules):
            return await function(*args, **kwargs)

    return limited


def _usd(value: object) -> Decimal:
    if isinstance(value, float):
        raise TypeError(
            f'budget(usd=) must be text or a Decimal, like usd="0.50": the float {value!r} is not '
            "an exact amount"
        )
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise TypeError(
            f'budget(usd=) must be text or a Decimal, like usd="0.50", not {type(value).__name__}'
        )
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = NOTHING
    if not amount.is_finite() or amount <= 0:
        raise ValueError(
            f'budget(usd=) must be US dollars greater than 0, like usd="0.50", not {value!r}'
        )
    return amount


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"budget(name=) must be text, not {type(value).__name__}")
    if not value.strip():
        raise ValueError('budget(name=) must not be empty; name the run, like name="research"')
    return value


def _warn_of_setup(name: str) -> None:
    if RUNTIME.setup.ledger is None:
        warn_once(
            f"budget {name!r} knows no prices, because no ledger is open: call "
            "tokenledger.configure() or init() first. Until then its calls have no price"
        )
    if not RUNTIME.has_instrumented:
        warn_once(
            f"budget {name!r} limits no call, because no SDK is patched: call tokenledger.init(), "
            "patch_openai() or patch_anthropic() first"
        )


def _load_prices() -> None:
    """Load the prices, which takes a second the first time, before a call waits for them."""
    ledger = RUNTIME.setup.ledger
    if ledger is not None:
        price(ledger, _ANY_CALL, time.time_ns(), failed=False)


def _new_counter(rules: Rules, spent: Decimal) -> Counter:
    """A counter in a new file; in memory if there can be none, so that this process is limited."""
    if CAN_SHARE:
        try:
            folder = _folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_abandoned(folder)
            return Counter.create(folder / f"{os.urandom(8).hex()}.json", spent)
        except (OSError, RuntimeError) as error:
            report("making the file of a budget", type(error).__name__)
            warn_once(
                f"budget {rules.name!r} is not shared with child processes, because its file "
                "cannot be made; set TOKENLEDGER_SPOOL_DIR to a folder that can be written"
            )
    return Counter(None, spent)


def _folder() -> Path:
    """Next to the spool."""
    if spool_dir := RUNTIME.setup.settings.spool_dir:
        return Path(spool_dir) / "run-budgets"
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "tokenledger" / "run-budgets"


@functools.cache
def _remove_abandoned(folder: Path) -> None:
    """Remove the files of killed processes, once per process."""
    oldest = time.time() - _ABANDONED_SECONDS
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
