"""Which source wins when two attribute one call."""

from __future__ import annotations

from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger import _guard
from tokenledger._attribution.layers import (
    Layers,
    clean,
    keyword_layer,
    layer_of,
    merge_layers,
    metadata_layer,
)
from tokenledger_semconv.attributes import FEATURE, METADATA_PREFIX, TEAM, USER_ID
from tokenledger_semconv.dimensions import (
    ATTRIBUTION_KEYS,
    MAX_METADATA_KEYS,
    MAX_VALUE_LENGTH,
)

_ORDER = (
    "per_call",
    "inner",
    "outer",
    "middleware",
    "provider_field",
    "trusted_baggage",
    "defaults",
)


def test_the_order_of_sources_is_the_documented_one() -> None:
    assert Layers._fields == _ORDER


@pytest.mark.parametrize("strongest", range(len(_ORDER)), ids=_ORDER)
def test_each_source_overrides_lower_ones(strongest: int) -> None:
    layers = Layers(**{name: {USER_ID: name} for name in _ORDER[strongest:]})
    assert merge_layers(layers) == {USER_ID: _ORDER[strongest]}


def test_sources_with_different_keys_are_merged() -> None:
    layers = Layers(per_call={USER_ID: "u"}, outer={TEAM: "t"}, defaults={FEATURE: "f"})
    assert merge_layers(layers) == {USER_ID: "u", TEAM: "t", FEATURE: "f"}


def test_of_too_many_metadata_keys_the_weakest_are_dropped() -> None:
    strong = {METADATA_PREFIX + f"s{n}": "1" for n in range(MAX_METADATA_KEYS)}
    weak = {METADATA_PREFIX + "w": "1", USER_ID: "u"}
    settled = merge_layers((strong, weak))
    assert METADATA_PREFIX + "w" not in settled
    assert settled[USER_ID] == "u"
    assert len(settled) == MAX_METADATA_KEYS + 1


@pytest.mark.parametrize("key", ATTRIBUTION_KEYS)
def test_a_known_keyword_fills_its_attribute(key: str) -> None:
    assert keyword_layer({key: "x"}) == {ATTRIBUTION_KEYS[key]: "x"}


@pytest.mark.parametrize("key", ATTRIBUTION_KEYS)
def test_a_known_metadata_key_fills_its_attribute_and_stays(key: str) -> None:
    assert metadata_layer({key: "x"}) == {ATTRIBUTION_KEYS[key]: "x", METADATA_PREFIX + key: "x"}


def test_a_keyword_beats_metadata_with_the_same_key() -> None:
    layer = layer_of({"team": "keyword"}, {"team": "metadata", "tier": 1})
    assert layer == {
        TEAM: "keyword",
        METADATA_PREFIX + "team": "metadata",
        METADATA_PREFIX + "tier": "1",
    }


def test_none_means_not_set() -> None:
    assert layer_of({"user_id": None}, {"team": None}) == {}


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("plain", "plain"),
        (7, "7"),
        (True, "True"),
        ({"a": [1]}, '{"a": [1]}'),
        ("nul\0inside", "nul\N{REPLACEMENT CHARACTER}inside"),
        ("lone\ud800surrogate", "lone?surrogate"),
        ("x" * 300, "x" * MAX_VALUE_LENGTH),
        ("ü" * 300, "ü" * MAX_VALUE_LENGTH),
        (_Unprintable(), "_Unprintable"),
    ],
    ids=["text", "int", "bool", "dict", "nul", "surrogate", "long", "long-unicode", "unprintable"],
)
def test_a_value_becomes_text_a_row_can_hold(value: object, cleaned: str) -> None:
    assert clean(value) == cleaned


@given(st.text(st.characters(codec=None), max_size=400))
def test_any_text_fits_into_a_row(value: str) -> None:
    cleaned = clean(value)
    assert "\0" not in cleaned
    assert len(cleaned) <= MAX_VALUE_LENGTH
    cleaned.encode("utf-8")


class Hostile(str):
    """A text of the app whose own methods fail."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def isascii(self) -> bool:
        raise RuntimeError

    def __getitem__(self, _index: object) -> str:
        raise RuntimeError

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        raise RuntimeError(encoding, errors)

    def replace(self, *_arguments: object) -> str:
        raise RuntimeError


class UnreadableMapping(dict[str, str]):
    """A mapping of the app that cannot be iterated."""

    def items(self) -> NoReturn:
        raise RuntimeError


def test_a_value_whose_str_fails_is_recorded_anyway() -> None:
    assert type(clean(Hostile("u-1"))) is str
    assert layer_of({"user_id": Hostile("u-1")}, None) == {USER_ID: "u-1"}
    assert layer_of({}, {Hostile("team"): Hostile("ml")}) == {
        METADATA_PREFIX + "team": "ml",
        TEAM: "ml",
    }


def test_metadata_that_cannot_be_read_is_left_out_and_the_keywords_stay() -> None:
    assert layer_of({"user_id": "u-1"}, UnreadableMapping(a="b")) == {USER_ID: "u-1"}
    assert _guard.counts() == {"attribution(metadata=)": 1}
    _guard.reset()
