"""The fast path, by positions of attributes, reads the same call as the slow path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.ledger_rows import HEADER, chat_attributes, record
from support.recorded_spans import EMITTERS, calls
from tokenledger_exporter.dialects import read, read_call
from tokenledger_exporter.dialects.dialect import COUNT, OTHERS
from tokenledger_exporter.dialects.emitters.langfuse import LANGFUSE
from tokenledger_exporter.dialects.fast_path import read_plain
from tokenledger_exporter.dialects.otel_genai import CONVENTIONS, OURS
from tokenledger_exporter.dialects.registry import DIALECTS
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord

_HEADERS: Final = (
    HEADER,
    SpoolHeader(
        format_version=1,
        ledger="test",
        app_name="shop",
        defaults={attributes.TEAM: "ops", attributes.METADATA_PREFIX + "tier": "gold"},
        organization="acme",
    ),
)
_RESOURCES: Final[tuple[dict[str, str], ...]] = (
    {},
    {attributes.SERVICE_NAME: "app", attributes.SDK_VERSION: "3.57", attributes.USER_ID: "u0"},
)

_COUNTS: Final = st.integers(0, 5_000)
_TEXTS: Final = st.sampled_from(
    ["chat", "openai", "gpt-4o", "default", "fast", "us", "u1", '{"a": [1, null]}', "x" * 300, ""]
)
_ANYTHING: Final = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.booleans(),
    st.text(max_size=9),
    st.lists(st.text(max_size=3), max_size=2),
)


def _value(dialect: Dialect, attribute: str) -> st.SearchStrategy[Any]:
    group, name, _ = dialect.fields.get(attribute, (None, "", False))
    if group == COUNT:
        return _COUNTS
    return _ANYTHING if name in OTHERS else _TEXTS


@st.composite
def _spans(draw: st.DrawFn) -> SpanRecord:
    """A span of any dialect, in any order; nearly every value has the type of its field."""
    dialect = draw(st.sampled_from((OURS, CONVENTIONS, *DIALECTS)))
    others = (
        *(attributes.METADATA_PREFIX + key for key in ("tier", "k", "")),
        *(f"{prefix}{key}" for prefix in dialect.metadata_prefixes for key in ("user_id", "k")),
        *("unknown.attribute", attributes.SERVER_ADDRESS),
    )
    counts = [name for name, field in dialect.fields.items() if field[0] == COUNT]
    names = draw(st.lists(st.sampled_from(counts), max_size=5, unique=True))
    names += draw(st.lists(st.sampled_from((*dialect.fields, *others)), max_size=12, unique=True))
    names = draw(st.permutations(list(dict.fromkeys(names))))
    span_attributes = {name: draw(_value(dialect, name)) for name in names}
    if span_attributes and not draw(st.integers(0, 3)):
        span_attributes[draw(st.sampled_from(names))] = draw(_ANYTHING)
    span = record(
        span_attributes, failed=draw(st.integers(0, 5)) == 0, resource=draw(_any_resource)
    )
    return replace(span, scope=draw(st.sampled_from((*dialect.scopes, *dialect.exclusive))))


_any_resource: Final = st.sampled_from(_RESOURCES)


def _read_slowly(span: SpanRecord, header: SpoolHeader) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "read_plain", _never)
        return repr(read_call(span, header))


def _never(_dialect: Dialect, _attributes: dict[str, AttributeValue]) -> None:
    return None


@settings(deadline=None, max_examples=1_000)
@given(span=_spans(), header=st.sampled_from(_HEADERS))
def test_the_fast_path_reads_any_span_like_the_slow_path(
    span: SpanRecord, header: SpoolHeader
) -> None:
    assert repr(read_call(span, header)) == _read_slowly(span, header)


@pytest.mark.parametrize("emitter", EMITTERS)
def test_the_fast_path_reads_recorded_spans_like_the_slow_path(emitter: str) -> None:
    for spans in calls(emitter).values():
        for span in map(decode_record, map(encode_span, spans)):
            assert repr(read_call(span, HEADER)) == _read_slowly(span, HEADER)


def test_the_fast_path_reads_a_plain_span() -> None:
    span_attributes = chat_attributes(user__id="u1", tokenledger__metadata__tier="gold")
    for dialect in (OURS, CONVENTIONS):
        assert read_plain(dialect, span_attributes) is not None


@pytest.mark.parametrize(
    "more",
    [
        {attributes.OUTPUT_TOKENS: True},
        {attributes.OUTPUT_TOKENS: -1},
        {attributes.OUTPUT_TOKENS: 2**63},
        {attributes.REQUEST_MODEL: 4},
        {attributes.OPENAI_SYSTEM_FINGERPRINT: ""},
        {attributes.INPUT_TOKENS_UNTIL_1_26: 7},
        {attributes.CACHE_WRITE_5M_TOKENS: 7},
        {attributes.CACHED_AUDIO_TOKENS: 7},
    ],
    ids=str,
)
def test_the_fast_path_does_not_read_unusual_values(more: dict[str, AttributeValue]) -> None:
    assert read_plain(OURS, chat_attributes() | more) is None


def test_the_fast_path_does_not_read_a_dialects_own_metadata() -> None:
    span_attributes = chat_attributes() | {emitters.LANGFUSE_METADATA_PREFIX + "user_id": "u1"}
    assert read_plain(LANGFUSE, span_attributes) is None
