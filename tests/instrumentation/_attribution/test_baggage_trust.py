"""Attribution that arrives with a request counts only if it is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    TextMapPropagator,
    default_getter,
    default_setter,
)
from typing_extensions import override

from tokenledger import attribution, track_cost
from tokenledger_semconv.attributes import METADATA_PREFIX, TEAM, USER_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.propagators.textmap import (
        CarrierT,
        Getter,
        Setter,
    )

    from support.ledger_in_memory import LedgerInMemory

_HEADER = "user.id=spoofed,tokenledger.team=theirs,tokenledger.metadata.tier=gold,other=x"


@pytest.fixture
def request_came_in(ledger: LedgerInMemory) -> Iterator[LedgerInMemory]:
    """The current context is that of a request with foreign baggage."""
    token = context.attach(W3CBaggagePropagator().extract({"baggage": _HEADER}))
    yield ledger
    context.detach(token)


def test_foreign_members_do_not_count(request_came_in: LedgerInMemory) -> None:
    track_cost(1, 1, "gpt-4o")
    assert not {USER_ID, TEAM, METADATA_PREFIX + "tier", "other"} & request_came_in.only().keys()


@pytest.mark.parametrize(
    ("trusted", "counting"),
    [
        ("user.id", {USER_ID}),
        ("user_id", {USER_ID}),
        ("user_id, tokenledger.team", {USER_ID, TEAM}),
        ("tokenledger.metadata.tier", {METADATA_PREFIX + "tier"}),
        ("metadata.tier", {METADATA_PREFIX + "tier"}),
        ("*", {USER_ID, TEAM, METADATA_PREFIX + "tier"}),
        ("nonsense", set[str]()),
    ],
    ids=["baggage-key", "keyword", "both-forms", "metadata", "as-reported", "all", "unknown"],
)
def test_trusted_keys_count(
    request_came_in: LedgerInMemory,
    monkeypatch: pytest.MonkeyPatch,
    trusted: str,
    counting: set[str],
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", trusted)
    track_cost(1, 1, "gpt-4o")
    said = request_came_in.only()
    assert {USER_ID, TEAM, METADATA_PREFIX + "tier"} & said.keys() == counting
    assert "other" not in said


@pytest.mark.parametrize("trusted", ["", "*"], ids=["untrusted", "trusted"])
def test_what_this_process_set_wins(
    request_came_in: LedgerInMemory, monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", trusted)
    with attribution(user_id="ours"):
        track_cost(1, 1, "gpt-4o")
    assert request_came_in.only()[USER_ID] == "ours"


def test_baggage_set_over_a_foreign_member_counts(request_came_in: LedgerInMemory) -> None:
    token = context.attach(baggage.set_baggage(USER_ID, "ours"))
    track_cost(1, 1, "gpt-4o")
    context.detach(token)
    assert request_came_in.only()[USER_ID] == "ours"


def test_a_header_extracted_inside_a_scope_does_not_hide_the_scope(ledger: LedgerInMemory) -> None:
    with attribution(user_id="ours"):
        token = context.attach(W3CBaggagePropagator().extract({"baggage": _HEADER}))
        track_cost(1, 1, "gpt-4o")
        context.detach(token)
    assert ledger.only()[USER_ID] == "ours"


def test_two_headers_one_after_the_other_are_both_foreign(ledger: LedgerInMemory) -> None:
    propagator = W3CBaggagePropagator()
    first = propagator.extract({"baggage": "user.id=one"})
    second = propagator.extract({"baggage": "tokenledger.team=two"}, context=first)
    token = context.attach(second)
    track_cost(1, 1, "gpt-4o")
    context.detach(token)
    assert not {USER_ID, TEAM} & ledger.only().keys()


class JaegerLike(TextMapPropagator):
    """Baggage with one header per member, as Jaeger's propagator reads it."""

    @property
    @override
    def fields(self) -> set[str]:
        return set()

    @override
    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Sends nothing."""

    @override
    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        context = Context() if context is None else context
        for header in getter.keys(carrier):
            for value in getter.get(carrier, header) or ():
                name = header.removeprefix("uberctx-")
                context = baggage.set_baggage(name, value, context)
        return context


@pytest.mark.parametrize(
    "propagator",
    [JaegerLike(), CompositePropagator([W3CBaggagePropagator(), JaegerLike()])],
    ids=["alone", "among-others"],
)
@pytest.mark.parametrize("trusted", ["", "user_id"], ids=["untrusted", "trusted"])
def test_members_of_any_propagator_are_foreign(
    ledger: LedgerInMemory,
    monkeypatch: pytest.MonkeyPatch,
    propagator: TextMapPropagator,
    trusted: str,
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", trusted)
    sent = {"uberctx-user.id": "spoofed", "uberctx-tokenledger.team": "theirs"}
    token = context.attach(propagator.extract(sent))
    track_cost(1, 1, "gpt-4o")
    context.detach(token)
    assert ledger.only().get(USER_ID) == ("spoofed" if trusted else None)
    assert TEAM not in ledger.only()


@pytest.mark.parametrize(
    "header",
    ["user.id=" + "x" * 9_000, "user.id=%00nul", "user.id=a,user.id=b", "user.id", ";;=,,"],
    ids=["oversized", "nul", "duplicated", "no-value", "garbage"],
)
def test_a_hostile_header_changes_nothing(ledger: LedgerInMemory, header: str) -> None:
    token = context.attach(W3CBaggagePropagator().extract({"baggage": header}))
    track_cost(1, 1, "gpt-4o")
    context.detach(token)
    assert USER_ID not in ledger.only()


def test_an_empty_carrier_changes_nothing() -> None:
    before = context.get_current()
    assert W3CBaggagePropagator().extract(dict[str, str]()) is before
