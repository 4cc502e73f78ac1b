"""Which rows tell of one call: the rule alone, over values, without a database.

Two rows are one call only if different emitters tell of it, at the same time, with the same counts,
and either under one response id or one from within the other's span. The outcome is a function of
the set of rows, not of the order they came in. `keeper` finds the rows and carries the outcome out.
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
"""Two spans of one call may miss each other by this much: they are ended one after the other."""

START_TOLERANCE: Final = timedelta(minutes=10)
"""Two tellings of one call start at most this far apart: a gateway may hold a call in its queue."""

UNIQUE_ID_LENGTH: Final = 20
"""A shorter response id proves nothing: Ollama draws one of `chatcmpl-0` to `chatcmpl-998`; the
ids of OpenAI, Anthropic, Mistral and Gemini have 22 characters or more. The index over response ids
says the same number."""

MAX_SPAN_REPORTS: Final = 16
"""Rows that may be one call. A call has a handful of emitters; what shares an id with more rows
than this is some other kind of id, and stays apart as a suspected duplicate."""

_OUTPUT: Final = "output_tokens"
_NOTHING: Final = Decimal(-1)

# OpenLLMetry adds the placeholder of an Anthropic stream's first event to its last event's count
# (its anthropic package 0.62.4, recorded 2026-11-25): 201 for 200. Placeholders are of few tokens.
_OVERCOUNTING: Final = "opentelemetry.instrumentation.anthropic"
_PLACEHOLDER: Final = 16

# LiteLLM's callback counts a stream without usage by a tokenizer, and nothing on its span says so
# (1.110.2, read 2026-11-28).
_RECKONING: Final = frozenset({"litellm"})

BY_ANCESTOR: Final = "told again by a span around it"
BY_RESPONSE: Final = "told again under the same response id"
"""Why a row was set aside."""


@dataclass(frozen=True, slots=True)
class SpanReport:
    """One row, as far as it matters here.

    Args:
        event_id: its identity.
        started_at: when the call began by this telling.
        ended_at: when it ended.
        scope: who tells.
        response_id: the provider's id of the answer, "" if it is not told.
        models: every name the row has for the model.
        ancestors: identities of the spans above it that may tell of the call too.
        counts: the counts it reports, by column.
        is_estimated: its counts are estimates.
        organization: whose call it is by this telling, "" if it is not told.
        source: organization that the reporting token is bound to, "" for the operator's own
            sources.
        operation: GenAI operation.
        service_tier: tier it is billed on.
        cost_usd: what it costs by this telling, US dollars; None if that is unknown.
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
        """Whether its emitter is known to count too much output."""
        return self.scope == _OVERCOUNTING

    @property
    def is_reckoned(self) -> bool:
        """Whether its counts may be no provider's: estimates, or a tokenizer's of its own."""
        return self.is_estimated or self.scope in _RECKONING

    @property
    def emitter(self) -> str:
        """Who tells: all of ours are one emitter, which tells of no call twice.

        A tenant's sender can give its spans any scope, so there the scope proves nothing.
        """
        is_ours = self.scope.startswith(SCOPE_PREFIX) and not self.source
        return SCOPE_PREFIX if is_ours else self.scope


@dataclass(frozen=True, slots=True)
class CallGroup:
    """What turned out to be one call.

    Args:
        winner: the row that stands for it.
        losers: the other rows and why they are set aside, the most telling first.
    """

    winner: SpanReport
    losers: tuple[tuple[SpanReport, str], ...]


def settle(tellings: Iterable[SpanReport]) -> list[CallGroup]:
    """Group rows into calls; a row nobody else tells of is a call by itself."""
    rows = sorted(tellings, key=lambda row: (row.started_at, row.event_id))
    groups = {row.event_id: _Group([row]) for row in rows}
    # The surest and closest pairs first: of two calls under one id, each finds its own telling.
    for link in sorted(_links(rows), key=lambda link: link.order):
        one, other = groups[link.one.event_id], groups[link.other.event_id]
        if one is not other and one.may_join(other, link):
            one.join(other, link)
            for row in other.rows:
                groups[row.event_id] = one
    return [group.outcome() for group in {id(group): group for group in groups.values()}.values()]


class _Sureness(IntEnum):
    """How a pair is known to be one call, the surest first."""

    NESTED_SAME_ID = 0
    NESTED = 1
    SAME_ID = 2


@dataclass(frozen=True, slots=True)
class _Link:
    """Two rows that may be one call, how sure that is, and how far apart their times are."""

    one: SpanReport
    other: SpanReport
    sureness: _Sureness

    @property
    def order(self) -> tuple[int, timedelta, UUID, UUID]:
        one, other = self.one, self.other
        apart = abs(one.started_at - other.started_at) + abs(one.ended_at - other.ended_at)
        return self.sureness, apart, one.event_id, other.event_id


@dataclass(slots=True)
class _Group:
    """Rows that are one call so far; all that joins must agree with all that is there."""

    rows: list[SpanReport]
    reason: str = BY_RESPONSE

    def may_join(self, other: _Group, link: _Link) -> bool:
        if len(self.rows) + len(other.rows) > MAX_SPAN_REPORTS:
            return False
        twice = {row.emitter for row in self.rows} & {row.emitter for row in other.rows}
        if twice and link.one.emitter != link.other.emitter:
            return False
        return all(_agree(one, another) for one in self.rows for another in other.rows)

    def join(self, other: _Group, link: _Link) -> None:
        self.rows += other.rows
        if link.sureness != _Sureness.SAME_ID or other.reason == BY_ANCESTOR:
            self.reason = BY_ANCESTOR

    def outcome(self) -> CallGroup:
        """What was measured stands before what was not, then ours, the fuller, the innermost.

        Of a stream that was broken off, whoever heard it longest knows best what was generated:
        others take the placeholder at its beginning for a count. Rows that disagree on what was
        done at what rate are settled for the costlier: nobody lowers a bill by reporting a call
        once more. A tenant's report takes the place of the operator's only if both have a cost and
        the tenant's is higher: a cost that is not known may be any.
        """
        operators = [row for row in self.rows if not row.source] or self.rows
        winner, *losers = self._by_standing(operators)
        above = [
            row
            for row in self.rows
            if row.source and not winner.source and _costs_more(row, winner)
        ]
        if above:
            losers = [winner, *losers]
            winner, *_ = self._by_standing(above)
        chosen = {winner.event_id, *(row.event_id for row in losers)}
        rest = [row for row in self.rows if row.event_id not in chosen]
        losers += self._by_standing(rest)
        return CallGroup(winner, tuple((loser, self.reason) for loser in losers))

    def _by_standing(self, rows: Sequence[SpanReport]) -> list[SpanReport]:
        """Some of the rows, the one that stands first."""
        known = {row.event_id for row in self.rows}
        is_estimated = any(row.is_estimated for row in rows)
        is_disputed = any(_differ_in_rate(one, other) for one, other in combinations(rows, 2))

        def standing(row: SpanReport) -> tuple[object, ...]:
            cost = row.cost_usd if is_disputed and row.cost_usd is not None else _NOTHING
            return (
                bool(row.counts),
                cost,
                not row.is_reckoned or is_estimated,
                _heard(row) if is_estimated else (False, 0),
                row.emitter == SCOPE_PREFIX,
                not row.overcounts,
                len(row.counts),
                len(known.intersection(row.ancestors)),
                row.event_id,
            )

        return sorted(rows, key=standing, reverse=True)


def _costs_more(tenants: SpanReport, operators: SpanReport) -> bool:
    """Whether a tenant's report of a call costs more than the operator's, both being known."""
    if tenants.cost_usd is None or operators.cost_usd is None:
        return False
    return tenants.cost_usd > operators.cost_usd and _differ_in_rate(tenants, operators)


def _differ_in_rate(one: SpanReport, other: SpanReport) -> bool:
    """Whether two rows of a call name models, operations or tiers that cannot be the same."""
    pairs = ((one.operation, other.operation), (one.service_tier, other.service_tier))
    if any(mine and theirs and mine != theirs for mine, theirs in pairs):
        return True
    # Two sources of the operator's name a model in different ways, and mean the same.
    is_doubted = one.source != other.source
    return is_doubted and not one.models & other.models


def _heard(row: SpanReport) -> tuple[bool, int]:
    """How much of a stream a row knows: more than a placeholder is a count, unless estimated."""
    output = row.counts.get(_OUTPUT, 0)
    return not row.is_reckoned and output > _PLACEHOLDER, output


def _links(rows: Sequence[SpanReport]) -> Iterable[_Link]:
    """Every pair of rows, sorted by their start, that may be one call."""
    for one, other in _pairs(rows):
        latest = min(one.ended_at + CLOCK_TOLERANCE, one.started_at + START_TOLERANCE)
        if other.started_at > latest:
            continue
        sureness = _sureness(one, other)
        if sureness is not None and _agree(one, other):
            yield _Link(one, other, sureness)


def _pairs(rows: Sequence[SpanReport]) -> Iterable[tuple[SpanReport, SpanReport]]:
    """Pairs under one id, or one within the other; the earlier first, and each once.

    Of the rows that one source reports under one id, no more than a call can have.
    """
    place = {row.event_id: number for number, row in enumerate(rows)}
    found: set[tuple[int, int]] = set()
    sharing: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    for number, row in enumerate(rows):
        if row.response_id:
            sharing[row.response_id].setdefault(row.source, []).append(number)
        for ancestor in row.ancestors:
            above = place.get(ancestor)
            if above is not None and above != number:
                found.add((min(above, number), max(above, number)))
    for by_source in sharing.values():
        few = [numbers for numbers in by_source.values() if len(numbers) <= MAX_SPAN_REPORTS]
        found.update(combinations(sorted(chain.from_iterable(few)), 2))
    return ((rows[one], rows[other]) for one, other in sorted(found))


def _sureness(one: SpanReport, other: SpanReport) -> _Sureness | None:
    nested = _are_nested(one, other)
    same_id = bool(one.response_id) and one.response_id == other.response_id
    measured = bool(one.counts.keys() & other.counts.keys())
    if one.emitter == other.emitter:
        # One emitter at two stations of a call, an app and its gateway: only with every proof.
        return _Sureness.NESTED_SAME_ID if nested and same_id and measured else None
    if nested:
        if same_id:
            return _Sureness.NESTED_SAME_ID
        return _Sureness.NESTED if measured or _may_be_unmeasured(one, other) else None
    return _Sureness.SAME_ID if same_id and len(one.response_id) >= UNIQUE_ID_LENGTH else None


def _are_nested(one: SpanReport, other: SpanReport) -> bool:
    return one.event_id in other.ancestors or other.event_id in one.ancestors


def _agree(one: SpanReport, other: SpanReport) -> bool:
    """Whether nothing that both report contradicts that they are one call.

    Every count is equal, but an estimate is none; and no two ids are of one kind, because a gateway
    may answer with an id of its own kind, but a call has one of each. Spans of two organizations
    are one call only inside one another: whoever learned a response id must not take another's row.
    """
    if not _may_share(one, other):
        return False
    if one.response_id != other.response_id and _kind(one.response_id) == _kind(other.response_id):
        return False
    if one.is_reckoned or other.is_reckoned:
        return True
    theirs = other.counts
    differing = {name for name, count in one.counts.items() if theirs.get(name, count) != count}
    return not differing or (differing == {_OUTPUT} and _is_miscounted(one, other))


def _may_share(one: SpanReport, other: SpanReport) -> bool:
    """Whether the sources of two rows may report one call."""
    if one.source != other.source:
        if one.source and other.source:
            return False
        # A tenant's report and the operator's: only of a call that the operator knows as theirs.
        return one.organization == other.organization
    organizations = {one.organization, other.organization} - {""}
    return len(organizations) <= 1 or _are_nested(one, other)


def _kind(response_id: str) -> str:
    """`msg` of `msg_01Ab`, `chatcmpl` of `chatcmpl-9`; "" of none."""
    return re.split(r"[-_]", response_id, maxsplit=1)[0]


def _is_miscounted(one: SpanReport, other: SpanReport) -> bool:
    """Whether two output counts can be of one call: the emitter of one is known to miscount."""
    more = one.counts[_OUTPUT] - other.counts[_OUTPUT]
    return (one.overcounts and 0 < more <= _PLACEHOLDER) or (
        other.overcounts and 0 < -more <= _PLACEHOLDER
    )


def _may_be_unmeasured(one: SpanReport, other: SpanReport) -> bool:
    """Nested rows of one model of which one counted nothing: a failed call, a stream."""
    return not (one.counts and other.counts) and bool(one.models & other.models)
