"""A ledger's guard that answers as scripted, and what happens to the money that it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tokenledger_semconv.budgets import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_semconv.budgets import CallAttributes, Hold, RoundTrip

REFUSAL = Refusal(
    budget="team-ml",
    key="ml",
    limit_usd=Decimal(500),
    spent_usd=Decimal("499.9"),
    reserved_usd=Decimal("0.05"),
    needed_usd=Decimal("0.06"),
    resets_at=None,
    remedy="raise it with `tokenledger budget set team-ml --limit USD`",
    reason="limit",
)


@dataclass
class NotedHold:
    """Notes what happens to it."""

    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    finished: list[tuple[CallAttributes, bool]] = field(
        default_factory=list["tuple[CallAttributes, bool]"]
    )
    releases: int = 0

    def bind(self, trace_id: int, span_id: int) -> None:
        self.spans.append((trace_id, span_id))

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:
        self.finished.append((attributes, failed))

    def release(self) -> None:
        self.releases += 1


@dataclass
class ScriptedGuard:
    """Answers with the same value each time, and notes what it is asked."""

    first: Hold | Refusal | RoundTrip | None = None
    second: Callable[[], Hold | Refusal | None] = lambda: None
    questions: list[tuple[CallAttributes, int]] = field(
        default_factory=list["tuple[CallAttributes, int]"]
    )

    def try_reserve(
        self, attributes: CallAttributes, input_characters: int
    ) -> Hold | Refusal | RoundTrip | None:
        self.questions.append((attributes, input_characters))
        return self.first

    def reserve(self, attributes: CallAttributes, input_characters: int) -> Hold | Refusal | None:
        self.questions.append((attributes, input_characters))
        return self.second()
