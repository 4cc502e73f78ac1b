"""Calls without a response id that a wrapper reports once more, after our own report of them.

LiteLLM's OpenTelemetry callback makes its span when a call is over, in a trace of its own. With a
response id the ledger knows both reports for one call. An embedding has none (LiteLLM 1.110.2, read
2026-11-28), so here, in the process that both come from, each second report is matched with one of
our own that lies within its time and says the same.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.store.same_call import CLOCK_TOLERANCE
from tokenledger_semconv.attributes import SCOPE_PREFIX
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from uuid import UUID

    from tokenledger_exporter.domain.ledger_row import LedgerRow

_WRAPPERS: Final = frozenset({"litellm"})
_MAX_ALLOWED: Final = 1_024


@dataclass(slots=True)
class _Own:
    """One of our reports, and the second report it was matched with."""

    row: LedgerRow
    second_event_id: UUID | None = None


class SecondReports:
    """Remembers our own latest reports without a response id; used by one thread."""

    def __init__(self) -> None:
        self._own: Final[OrderedDict[UUID, _Own]] = OrderedDict()

    def is_second(self, row: LedgerRow) -> bool:
        """Whether a row is the second report of a call; our own reports are remembered.

        The answer is the same when a batch that could not be written comes again.
        """
        if row.response_id:
            return False
        if row.scope.startswith(SCOPE_PREFIX):
            self._own.setdefault(row.event_id, _Own(row))
            if len(self._own) > _MAX_ALLOWED:
                self._own.popitem(last=False)
            return False
        if row.scope not in _WRAPPERS:
            return False
        for own in self._own.values():
            if own.second_event_id in {None, row.event_id} and _is_same(own.row, row):
                own.second_event_id = row.event_id
                return True
        return False


def _is_same(own: LedgerRow, second: LedgerRow) -> bool:
    """Whether a wrapper's report can be of the call that ours is of."""
    if own.operation != second.operation or own.status != second.status:
        return False
    if own.timestamp < second.timestamp - CLOCK_TOLERANCE:
        return False
    if own.ended_at > second.ended_at + CLOCK_TOLERANCE:
        return False
    if not _models(own) & _models(second):
        return False
    pairs = ((getattr(own, name), getattr(second, name)) for name in TokenVector._fields)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _models(row: LedgerRow) -> set[str]:
    """The row's names of the model, without the provider that LiteLLM puts before them."""
    return {name.rpartition("/")[2] for name in (row.model, row.request_model) if name}
