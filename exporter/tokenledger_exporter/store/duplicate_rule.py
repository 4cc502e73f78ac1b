"""The deduplication rule: which rows report the same call. It is a pure function.

Two rows report the same call only if different emitters report it, at the same time, with the same
counts, and with the same response id or one inside the other's span. The result depends on the set
of rows, not on their order. `maintenance.deduplicate` reads the rows and applies the result.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum
from itertools import chain, combinations
from typing import TYPE_CHECKING, Final

from tokenledger_semconv.attributes import SCOPE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

CLOCK_TOLERANCE: Final = timedelta(milliseconds=10)
"""How far the times of two spans of one call may differ, because one ends after the other."""

START_TOLERANCE: Final = timedelta(minutes=10)
"""How far the starts of two reports of one call may differ: a gateway may queue a call."""

UNIQUE_ID_LENGTH: Final = 20
"""Minimum length of a response id that identifies a call. Ollama picks one of `chatcmpl-0` to
`chatcmpl-998`; the ids of OpenAI, Anthropic, Mistral and Gemini have 22 characters or more. The
index over response ids uses the same number."""

MAX_SPAN_REPORTS: Final = 16
"""Maximum rows of one call. A call has a few emitters; an id with more rows is another kind of id,
and its rows stay separate as suspected duplicates."""

_OUTPUT: Final = "output_tokens"
_NO_COST: Final = Decimal(-1)

# OpenLLMetry adds the placeholder count of an Anthropic stream's first event to the count of its
# last event (its anthropic package 0.62.4, recorded 2026-11-25): 201 for 200. The excess is small.
_OVERCOUNTING_SCOPE: Final = "opentelemetry.instrumentation.anthropic"
_PLACEHOLDER: Final = 16

# LiteLLM's callback counts a stream without usage with a tokenizer, and its span does not say so
# (1.110.2, read 2026-11-28).
_TOKENIZER_SCOPES: Final = frozenset({"litellm"})

NESTED_REASON: Final = "reported again by an enclosing span"
SAME_ID_REASON: Final = "reported again with the same response id"
"""Why a row is a duplicate."""


@dataclass(frozen=True, slots=True)
class SpanReport:
    """One row, with the fields that the rule needs.

    Args:
        event_id: its id.
        started_at: when the call began.
        ended_at: when it ended.
        scope: the instrumentation scope of its emitter.
        response_id: the provider's response id; "" if it is not reported.
        models: every name of the model in the row.
        ancestors: ids of the spans above it that may report the same call.
        counts: the reported counts by column.
        is_estimated: whether its counts are estimates.
        organization: the organization of the call; "" if it is not reported.
        source: organization that the reporting token is bound to; "" for the operator's own
            sources.
        operation: GenAI operation.
        service_tier: service tier.
        cost_usd: its cost in US dollars; None if it is unknown.
    """

    event_id: UUID
    started_at: datetime
    ended_at: datetime
    scope: str
    response_id: str = ""
    models: frozenset[str] = frozenset()
    ancestors: tuple[UUID, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    is_estimated: bool = False
    organization: str = ""
    source: str = ""
    operation: str = ""
    service_tier: str = ""
    cost_usd: Decimal | None = None

    @property
    def overcounts(self) -> bool:
        """Whether its emitter is known to report too many output tokens."""
        return self.scope == _OVERCOUNTING_SCOPE

    @property
    def is_estimate_like(self) -> bool:
        """Whether its counts may come from an estimate or a tokenizer instead of the provider."""
        return self.is_estimated or self.scope in _TOKENIZER_SCOPES

    @property
    def emitter(self) -> str:
        """Its emitter: all of our scopes are one emitter, which never reports a call twice.

        A tenant's sender can set any scope, so its scope is not trusted.
        """
        is_ours = self.scope.startswith(SCOPE_PREFIX) and not self.source
        return SCOPE_PREFIX if is_ours else self.scope


@dataclass(frozen=True, slots=True)
class CallGroup:
    """The rows of one call.

    Args:
        winner: the row that stands for it.
        duplicates: its duplicates with their reasons, best first.
    """

    winner: SpanReport
    duplicates: tuple[tuple[SpanReport, str], ...]


def group_reports(reports: Iterable[SpanReport]) -> list[CallGroup]:
    """Group rows into calls; a row without duplicates is a call of its own."""
    rows = sorted(reports, key=lambda row: (row.started_at, row.event_id))
    groups = {row.event_id: _Group([row]) for row in rows}
    # The most certain and closest pairs first, so that two calls with one id are paired correctly.
    for link in sorted(_links(rows), key=lambda link: link.order):
        one, other = groups[link.one.event_id], groups[link.other.event_id]
        if one is not other and one.may_join(other, link):
            one.join(other, link)
            for row in other.rows:
                groups[row.event_id] = one
    return [group.outcome() for group in {id(group): group for group in groups.values()}.values()]


class _Certainty(IntEnum):
    """Why a pair is one call, the most certain first."""

    NESTED_SAME_ID = 0
    NESTED = 1
    SAME_ID = 2


@dataclass(frozen=True, slots=True)
class _Link:
    """Two rows that may be one call, and how certain that is."""

    one: SpanReport
    other: SpanReport
    certainty: _Certainty

    @property
    def order(self) -> tuple[int, timedelta, UUID, UUID]:
        one, other = self.one, self.other
        time_distance = abs(one.started_at - other.started_at) + abs(one.ended_at - other.ended_at)
        return self.certainty, time_distance, one.event_id, other.event_id


@dataclass(slots=True)
class _Group:
    """Rows that are one call so far; a row that joins must agree with all of them."""

    rows: list[SpanReport]
    reason: str = SAME_ID_REASON

    def may_join(self, other: _Group, link: _Link) -> bool:
        if len(self.rows) + len(other.rows) > MAX_SPAN_REPORTS:
            return False
        shared_emitters = {row.emitter for row in self.rows} & {row.emitter for row in other.rows}
        if shared_emitters and link.one.emitter != link.other.emitter:
            return False
        return all(_agree(one, another) for one in self.rows for another in other.rows)

    def join(self, other: _Group, link: _Link) -> None:
        self.rows += other.rows
        if link.certainty != _Certainty.SAME_ID or other.reason == NESTED_REASON:
            self.reason = NESTED_REASON

    def outcome(self) -> CallGroup:
        """Choose the row that stands: measured first, then ours, the fullest, the innermost.

        For a stream that was aborted, the row that saw most of it is best: others may report the
        placeholder at its start as a count. If rows disagree about the rate, the one with the
        higher cost stands, so that another report cannot lower a bill. A tenant's report replaces
        the operator's only if both have a cost and the tenant's is higher.
        """
        operators = [row for row in self.rows if not row.source] or self.rows
        winner, *duplicates = self._ranked(operators)
        costlier = [
            row
            for row in self.rows
            if row.source and not winner.source and _costs_more(row, winner)
        ]
        if costlier:
            duplicates = [winner, *duplicates]
            winner, *_ = self._ranked(costlier)
        grouped_ids = {winner.event_id, *(row.event_id for row in duplicates)}
        rest = [row for row in self.rows if row.event_id not in grouped_ids]
        duplicates += self._ranked(rest)
        return CallGroup(winner, tuple((duplicate, self.reason) for duplicate in duplicates))

    def _ranked(self, rows: Sequence[SpanReport]) -> list[SpanReport]:
        """Some of the rows, the best first."""
        event_ids = {row.event_id for row in self.rows}
        is_estimated = any(row.is_estimated for row in rows)
        rates_differ = any(_differ_in_rate(one, other) for one, other in combinations(rows, 2))

        def rank(row: SpanReport) -> tuple[object, ...]:
            cost = row.cost_usd if rates_differ and row.cost_usd is not None else _NO_COST
            return (
                bool(row.counts),
                cost,
                not row.is_estimate_like or is_estimated,
                _stream_progress(row) if is_estimated else (False, 0),
                row.emitter == SCOPE_PREFIX,
                not row.overcounts,
                len(row.counts),
                len(event_ids.intersection(row.ancestors)),
                row.event_id,
            )

        return sorted(rows, key=rank, reverse=True)


def _costs_more(tenants: SpanReport, operators: SpanReport) -> bool:
    """Whether both costs are known and the tenant's report costs more than the operator's."""
    if tenants.cost_usd is None or operators.cost_usd is None:
        return False
    return tenants.cost_usd > operators.cost_usd and _differ_in_rate(tenants, operators)


def _differ_in_rate(one: SpanReport, other: SpanReport) -> bool:
    """Whether two rows of a call have different models, operations or tiers."""
    pairs = ((one.operation, other.operation), (one.service_tier, other.service_tier))
    if any(mine and theirs and mine != theirs for mine, theirs in pairs):
        return True
    # The operator's own sources may have different names for the same model.
    sources_differ = one.source != other.source
    return sources_differ and not one.models & other.models


def _stream_progress(row: SpanReport) -> tuple[bool, int]:
    """How much of a stream a row saw: more than a placeholder is a count, unless estimated."""
    output = row.counts.get(_OUTPUT, 0)
    return not row.is_estimate_like and output > _PLACEHOLDER, output


def _links(rows: Sequence[SpanReport]) -> Iterable[_Link]:
    """Every pair of rows that may be one call; the rows are sorted by their start."""
    for one, other in _pairs(rows):
        latest = min(one.ended_at + CLOCK_TOLERANCE, one.started_at + START_TOLERANCE)
        if other.started_at > latest:
            continue
        certainty = _certainty(one, other)
        if certainty is not None and _agree(one, other):
            yield _Link(one, other, certainty)


def _pairs(rows: Sequence[SpanReport]) -> Iterable[tuple[SpanReport, SpanReport]]:
    """Pairs with one response id, or one nested in the other; the earlier first, each once.

    Rows of one source with one id are left out if they are more than a call can have.
    """
    position = {row.event_id: number for number, row in enumerate(rows)}
    pairs: set[tuple[int, int]] = set()
    rows_by_id: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    for number, row in enumerate(rows):
        if row.response_id:
            rows_by_id[row.response_id].setdefault(row.source, []).append(number)
        for ancestor in row.ancestors:
            above = position.get(ancestor)
            if above is not None and above != number:
                pairs.add((min(above, number), max(above, number)))
    for by_source in rows_by_id.values():
        usable = [numbers for numbers in by_source.values() if len(numbers) <= MAX_SPAN_REPORTS]
        pairs.update(combinations(sorted(chain.from_iterable(usable)), 2))
    return ((rows[one], rows[other]) for one, other in sorted(pairs))


def _certainty(one: SpanReport, other: SpanReport) -> _Certainty | None:
    nested = _are_nested(one, other)
    same_id = bool(one.response_id) and one.response_id == other.response_id
    measured = bool(one.counts.keys() & other.counts.keys())
    if one.emitter == other.emitter:
        # One emitter in two places, an app and its gateway: only if all criteria match.
        return _Certainty.NESTED_SAME_ID if nested and same_id and measured else None
    if nested:
        if same_id:
            return _Certainty.NESTED_SAME_ID
        return _Certainty.NESTED if measured or _may_be_unmeasured(one, other) else None
    return _Certainty.SAME_ID if same_id and len(one.response_id) >= UNIQUE_ID_LENGTH else None


def _are_nested(one: SpanReport, other: SpanReport) -> bool:
    return one.event_id in other.ancestors or other.event_id in one.ancestors


def _agree(one: SpanReport, other: SpanReport) -> bool:
    """Whether nothing in two rows contradicts that they are one call.

    All counts that both have must be equal, unless one row has estimates. Two different ids must
    not be of the same kind: a gateway may respond with an id of its own kind, but a call has one
    id of each kind. Spans of two organizations are one call only if they are nested, so that
    knowing a response id does not let a sender replace another's row.
    """
    if not _may_report_same_call(one, other):
        return False
    if one.response_id != other.response_id and _kind(one.response_id) == _kind(other.response_id):
        return False
    if one.is_estimate_like or other.is_estimate_like:
        return True
    theirs = other.counts
    differing = {name for name, count in one.counts.items() if theirs.get(name, count) != count}
    return not differing or (differing == {_OUTPUT} and _is_miscounted(one, other))


def _may_report_same_call(one: SpanReport, other: SpanReport) -> bool:
    """Whether the sources of two rows may report one call."""
    if one.source != other.source:
        if one.source and other.source:
            return False
        # A tenant's report and the operator's: only if the operator reports that tenant's call.
        return one.organization == other.organization
    organizations = {one.organization, other.organization} - {""}
    return len(organizations) <= 1 or _are_nested(one, other)


def _kind(response_id: str) -> str:
    """The kind of an id: `msg` of `msg_01Ab`, `chatcmpl` of `chatcmpl-9`; "" if it is empty."""
    return re.split(r"[-_]", response_id, maxsplit=1)[0]


def _is_miscounted(one: SpanReport, other: SpanReport) -> bool:
    """Whether two output counts can be of one call because one emitter is known to miscount."""
    difference = one.counts[_OUTPUT] - other.counts[_OUTPUT]
    return (one.overcounts and 0 < difference <= _PLACEHOLDER) or (
        other.overcounts and 0 < -difference <= _PLACEHOLDER
    )


def _may_be_unmeasured(one: SpanReport, other: SpanReport) -> bool:
    """Whether nested rows have one model and one has no counts, as in a failed call."""
    return not (one.counts and other.counts) and bool(one.models & other.models)
