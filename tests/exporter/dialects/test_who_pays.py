"""Who a call is for, if its own span does not say: the spans above it, then the app's resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from support.ledger_rows import HEADER, chat_attributes, record
from tokenledger_exporter.dialects import read_call
from tokenledger_exporter.dialects.inheritance import Inheritance, attribution_of
from tokenledger_exporter.dialects.span_source import resource_attributes, source_of
from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.dialects.inheritance import Carrier
    from tokenledger_exporter.domain.span_record import SpoolHeader


def who(
    resource: Mapping[str, object],
    header: SpoolHeader = HEADER,
    inherited: dict[str, str] | None = None,
    **span_attributes: str,
) -> CallFacts:
    """The call of a span whose resource has these attributes."""
    sent = record(chat_attributes(**span_attributes), resource=resource_attributes(resource, {}))
    call = read_call(replace(sent, inherited=inherited), header)
    assert call is not None
    return call


@pytest.mark.parametrize("attribute", dimensions.RESOURCE_ATTRIBUTES)
def test_every_documented_resource_attribute_fills_its_dimension(attribute: str) -> None:
    filled = dimensions.RESOURCE_ATTRIBUTES[attribute]
    call = who({attribute: "value"})
    if filled.startswith(attributes.METADATA_PREFIX):
        assert call.metadata == {filled.removeprefix(attributes.METADATA_PREFIX): "value"}
    else:
        (column,) = [d.column for d in dimensions.DIMENSIONS if d.attribute == filled]
        assert {name: text for name, text in call.dimensions.items() if text} == {column: "value"}


def test_what_claude_codes_documentation_sets_is_read() -> None:
    call = who({"department": "engineering", "team.id": "platform", "cost_center": "eng-123"})
    assert (call.dimensions["team"], call.dimensions["cost_center"]) == ("platform", "eng-123")
    assert call.metadata == {"department": "engineering"}


def test_other_resource_attributes_fill_nothing() -> None:
    words = ("user", "organization", "agent", "session", "endpoint", "host.name", "user.email")
    call = who(dict.fromkeys(words, "value"))
    assert not any(call.dimensions.values())
    assert call.metadata == {}


def test_metadata_of_a_resource_is_metadata_of_its_calls() -> None:
    call = who({"tokenledger.metadata.tier": "gold"})
    assert call.metadata == {"tier": "gold"}


def test_the_full_name_counts_before_a_bare_one() -> None:
    resource = {"team.id": "third", "team": "second", "tokenledger.team": "first"}
    assert who(resource).dimensions["team"] == "first"
    del resource["tokenledger.team"]
    assert who(resource).dimensions["team"] == "second"
    assert who({"tokenledger.team": "", "team": "named"}).dimensions["team"] == "named"


def test_the_span_counts_before_its_parents_the_defaults_and_the_resource() -> None:
    resource = {"team": "resource", "tokenledger.metadata.tier": "resource"}
    defaults = {attributes.TEAM: "default", "tokenledger.metadata.tier": "default"}
    inherited = {attributes.TEAM: "parent", "tokenledger.metadata.tier": "parent"}
    own = {"tokenledger__team": "span", "tokenledger__metadata__tier": "span"}
    header = replace(HEADER, defaults=defaults)
    for call, expected in (
        (who(resource, header, inherited, **own), "span"),
        (who(resource, header, inherited), "parent"),
        (who(resource, header), "default"),
        (who(resource), "resource"),
    ):
        assert (call.dimensions["team"], call.metadata["tier"]) == (expected, expected)


@pytest.mark.parametrize("own", ["session.id", "tokenledger.session_id", "gen_ai.conversation.id"])
def test_any_name_on_the_span_counts_before_the_resource(own: str) -> None:
    sent = {**chat_attributes(), own: "span"}
    call = read_call(record(sent, resource={attributes.SESSION_ID: "resource"}), HEADER)
    assert call is not None
    assert call.dimensions["session_id"] == "span"


@pytest.mark.parametrize("name", ["tokenledger.user_id", "enduser.id"])
def test_a_user_may_be_named_in_other_ways_on_the_span(name: str) -> None:
    call = read_call(record({**chat_attributes(), name: "u1"}), HEADER)
    assert call is not None
    assert call.dimensions["user_id"] == "u1"
    call = read_call(record({**chat_attributes(), name: "u1", "user.id": "u2"}), HEADER)
    assert call is not None
    assert call.dimensions["user_id"] == "u2"


def test_a_tokens_organization_counts_before_all_of_them() -> None:
    claim = {attributes.ORGANIZATION_ID: "claimed"}
    header = replace(HEADER, organization="acme")
    call = who(claim, header, claim, tokenledger__organization_id="claimed")
    assert call.dimensions["organization_id"] == "acme"


def test_resource_values_are_cut_and_counted_like_those_of_spans() -> None:
    resource = {f"tokenledger.metadata.{number}": "x" for number in range(200)}
    assert len(who(resource).metadata) == dimensions.MAX_METADATA_KEYS
    assert len(who({"team": "x" * 300}).dimensions["team"]) == dimensions.MAX_VALUE_LENGTH
    assert who({"team": 7}).dimensions["team"] == "7"


def test_a_resource_is_read_once_for_all_spans_of_a_scope() -> None:
    reads: list[str] = []

    class Counting(dict[str, str]):
        def __contains__(self, key: object) -> bool:
            reads.append(str(key))
            return super().__contains__(key)

    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    scope = getattr(provider.get_tracer("my.app"), "_instrumentation_scope")  # noqa: B009
    resource = Resource({})
    resource._attributes = Counting(team="ml")  # type: ignore[assignment]  # noqa: SLF001
    source = source_of(resource, scope)
    count = len(reads)
    assert count > 0
    assert source_of(resource, scope) is source
    assert len(reads) == count


def inheritance(parents: Mapping[str, str], **spans: dict[str, str]) -> Inheritance[str]:
    def find(key: str) -> Carrier | None:
        return ("any.scope", {**spans[key]}) if key in spans else None

    return Inheritance(find, parents)


def test_the_nearest_span_above_counts_for_each_dimension() -> None:
    spans = inheritance(
        {"call": "step", "step": "http", "http": "root"},
        call={"user.id": "the call's own is not asked here"},
        http={"user.id": "near", "tokenledger.metadata.tier": "gold"},
        root={"user.id": "far", "tokenledger.team": "ml", "http.route": "/ask"},
    )
    expected = {"user.id": "near", "tokenledger.metadata.tier": "gold", "tokenledger.team": "ml"}
    assert spans.above("call") == expected
    assert spans.above("http") == {"user.id": "far", "tokenledger.team": "ml"}
    assert spans.above("root") is None


def test_spans_that_are_their_own_ancestors_end_the_search() -> None:
    spans = inheritance({"call": "a", "a": "b", "b": "a"}, a={"user.id": "u1"}, b={"team": "x"})
    assert spans.above("call") == {"user.id": "u1"}
    assert spans.above("a") is None
    assert inheritance({"call": "call"}, call={"user.id": "u1"}).above("call") is None


def test_a_long_chain_of_spans_is_read_in_linear_time() -> None:
    parents = {str(number): str(number + 1) for number in range(100_000)}
    spans = inheritance(parents, **{"100000": {"user.id": "u1"}})
    assert spans.above("0") == {"user.id": "u1"}


def test_other_emitters_names_of_a_user_are_read_from_their_spans() -> None:
    assert attribution_of("langfuse-sdk", {"langfuse.user.id": "u1"}) == {"user.id": "u1"}
    ai = {"ai.operationId": "ai.generateText", "ai.telemetry.metadata.userId": "u1"}
    assert attribution_of("ai", {**ai}) == {"user.id": "u1"}
    assert attribution_of("", {"service.name": "x", "gen_ai.request.model": "gpt-4o"}) == {}


def test_what_the_calls_of_a_request_inherit_is_bounded() -> None:
    count = 2_000
    parents = {str(number): "root" for number in range(count)}
    parents |= {f"call {number}": str(number) for number in range(count)}
    root = {f"tokenledger.metadata.{number}": "x" for number in range(64)} | {"user.id": "far"}
    middle = {str(number): {"user.id": f"u{number}"} for number in range(count)}
    spans = inheritance(parents, root=dict(root), **{key: dict(own) for key, own in middle.items()})
    distinct = {id(own): len(own) for n in range(count) if (own := spans.above(f"call {n}"))}
    # 32,768 values, and the set that passed the limit.
    assert sum(distinct.values()) <= 32_768 + 64 + 9
    # The root's values are not those of the nearest span, so they would be wrong.
    assert spans.above("call 0") == {**root, "user.id": "u0"}
    assert spans.above(f"call {count - 1}") is None
