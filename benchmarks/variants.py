"""What is compared: the bare SDK, one bare span around it, ours, and ours with its ledger."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

import tokenledger
from benchmarks.bare_span import Floor, Turn, tracing_to_nowhere
from tokenledger._state import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.sdk.trace import TracerProvider

# Nothing listens there: rows stay in the spool, which is what a call pays for.
_UNREACHABLE: Final = "postgresql://bench@127.0.0.1:9/none"


class Variants(Floor):
    """Puts one variant after the other into force."""

    def __init__(self, spool: str) -> None:
        self._traced = tracing_to_nowhere()
        self._booked = tracing_to_nowhere()
        self._bare_setup = RUNTIME.setup
        _use(self._booked)
        tokenledger.configure(database_url=_UNREACHABLE, spool_dir=spool)
        self._ledger_setup = RUNTIME.setup
        super().__init__(self._traced.get_tracer("floor"), _leave)

    def ours(self, call: Callable[[], object]) -> Turn:
        """Ours, on the app's tracing alone."""

        def turn() -> None:
            RUNTIME.setup = self._bare_setup
            _use(self._traced)
            tokenledger.patch_openai()
            tokenledger.patch_anthropic()

        return Turn(turn, call)

    def booked(self, call: Callable[[], object]) -> Turn:
        """Ours, with its processor and its crash-safe spool."""

        def turn() -> None:
            RUNTIME.setup = self._ledger_setup
            _use(self._booked)
            tokenledger.patch_openai()
            tokenledger.patch_anthropic()

        return Turn(turn, call)

    def close(self) -> None:
        """Leave nothing behind."""
        _leave()
        RUNTIME.setup = self._ledger_setup
        tokenledger.shutdown()
        self._traced.shutdown()
        self._booked.shutdown()


def _leave() -> None:
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()


def _use(provider: TracerProvider) -> None:
    """Make a provider the global one, which OpenTelemetry lets an app do once."""
    trace._TRACER_PROVIDER = provider  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


@contextmanager
def variants() -> Generator[Variants]:
    """The variants, with a spool of their own."""
    with tempfile.TemporaryDirectory() as spool:
        held = Variants(spool)
        try:
            yield held
        finally:
            held.close()
