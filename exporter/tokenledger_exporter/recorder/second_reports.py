"""Finds a wrapper's second report of a call that has no response id.

LiteLLM's OpenTelemetry callback creates its span when a call is over, in a trace of its own. If the
call has a response id, the ledger finds that both reports are of one call. An embedding has none
(LiteLLM 1.110.2, read 2026-11-28). So each second report is matched here, in the process that makes
both, with a report of ours that lies within its time and has the same counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.store.duplicate_rule import CLOCK_TOLERANCE
from tokenledger_semconv.attributes import SCOPE_PREFIX
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from uuid import UUID

    from tokenledger_exporter.domain.ledger_row import LedgerRow

_WRAPPERS: Final = frozenset({"litellm"})
_MAX_REMEMBERED: Final = 1_024


@dataclass(slots=True)
class _OwnReport:
    """One of our reports, and the second report it was matched with."""

    row: LedgerRow
    second_event_id: UUID | None = None


class SecondReports:
    """Remembers our latest reports without a response id; used by one thread."""

    def __init__(self) -> None:
        self._own: Final[OrderedDict[UUID, _OwnReport]] = OrderedDict()

    def is_second(self, row: LedgerRow) -> bool:
        """Whether a row is the second report of a call; our own reports are remembered.

        The answer is the same when a batch is retried.
        """
        if row.response_id:
            return False
        if row.scope.startswith(SCOPE_PREFIX):
            self._own.setdefault(row.event_id, _OwnReport(row))
            if len(self._own) > _MAX_REMEMBERED:
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
    """Whether a wrapper's report can describe the same call as ours."""
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
