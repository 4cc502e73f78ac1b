"""The calls of the sample ledger, as the span records that an app's instrumentation writes.

They have what a real past has: growth, weekends, nights, a release that made prompts longer, a user
who did far more than usual, errors, and calls whose cost is partly or wholly unknown.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.demo.sample_company import (
    CHAT_FEATURE,
    EMBEDDINGS,
    FEATURES,
    OPUS,
    ORGANIZATIONS,
    PLANS,
    RESEARCH,
    SPIKING_USER,
)
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tokenledger_exporter.demo.sample_company import Feature, Model
    from tokenledger_exporter.domain.span_record import AttributeValue

RELEASE_DAYS_AGO: Final = 14
"""When release 4.2.0 made the prompt of the feature chat longer."""

_OLD_RELEASE, _NEW_RELEASE = "4.1.3", "4.2.0"
_LONGER_PROMPT: Final = 1.8
_REQUESTS_AT_FIRST, _REQUESTS_NOW = 150, 540
_WEEKEND: Final = 0.22
# Requests by hour of the day, UTC: a company in Europe with some customers elsewhere.
_BY_HOUR: Final = (
    2,
    1,
    1,
    1,
    2,
    4,
    9,
    18,
    30,
    36,
    38,
    34,
    26,
    33,
    37,
    36,
    31,
    22,
    14,
    10,
    8,
    6,
    4,
    3,
)
_SPIKE_RUNS: Final = 34
_SPIKE_HOUR: Final = 13
_SECOND_NS: Final = 1_000_000_000
_STAGING_PERCENT: Final = 4
_CACHE_WRITE_SHARE: Final = 0.12
_REASONING_SHARE: Final = 0.6
_MOST_SEARCHES: Final = 3
_STEPS_PER_REVIEW: Final = 4
_COUNT_PREFIXES: Final = ("gen_ai.usage.", "anthropic.usage.", "tokenledger.usage.")


@dataclass(frozen=True, slots=True)
class SampleCall:
    """A call of the sample.

    Args:
        record: its span.
        never_ended: whether the app ended before the answer came, so that only the start is known.
    """

    record: SpanRecord
    never_ended: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    """What one request of a user shares between its calls."""

    feature: Feature
    organization: str
    user: str
    started_ns: int
    is_after_release: bool
    environment: str
    session: str
    trace_id: bytes


@dataclass(frozen=True, slots=True)
class _Accident:
    """What goes wrong with a call, in how many of 10,000."""

    frequency: int
    error: str = ""
    status: int = 0
    missing: tuple[str, ...] = ()
    is_estimated: bool = False
    never_ended: bool = False


_USAGE: Final = (attributes.INPUT_TOKENS, attributes.OUTPUT_TOKENS)
_ACCIDENTS: Final = (
    _Accident(110, error="RateLimitError", status=429, missing=_USAGE),
    _Accident(35, error="InternalServerError", status=503, missing=_USAGE),
    _Accident(20, error="APITimeoutError", missing=_USAGE),
    _Accident(15, error="BadRequestError", status=400, missing=_USAGE),
    _Accident(40, error="RemoteProtocolError", is_estimated=True),
    _Accident(18, missing=(attributes.OUTPUT_TOKENS,)),
    _Accident(10, missing=_USAGE, never_ended=True),
)


def sample_calls(now: datetime, days: int, seed: int) -> Iterator[SampleCall]:
    """The calls of some days that end at a moment, day by day.

    Args:
        now: the end, with a time zone.
        days: the number of days, today included.
        seed: the same seed and moment give the same calls.
    """
    source = random.Random(seed)  # noqa: S311 - a sample must repeat, nothing is secret
    midnight = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    until_ns = int(now.timestamp()) * _SECOND_NS
    for ago in reversed(range(days)):
        day = midnight - timedelta(days=ago)
        requests = [_request(source, day, ago) for _ in range(_volume(source, day, ago, days))]
        if ago == 1:
            requests += [_spike(source, day) for _ in range(_SPIKE_RUNS)]
        for request in requests:
            for call in _calls(source, request):
                if call.record.end_ns <= until_ns:
                    yield call


def _volume(source: random.Random, day: datetime, ago: int, days: int) -> int:
    """The requests of a day: they grow by the same factor each day."""
    grown = math.pow(_REQUESTS_NOW / _REQUESTS_AT_FIRST, 1 - ago / max(days, 1))
    is_weekend = day.weekday() >= 5  # noqa: PLR2004 - Saturday
    share = _WEEKEND if is_weekend else 1.0
    return round(_REQUESTS_AT_FIRST * grown * share * source.uniform(0.9, 1.1))


def _request(source: random.Random, day: datetime, ago: int) -> _Request:
    [feature] = source.choices(FEATURES, [each.weight for each in FEATURES])
    [hour] = source.choices(range(24), _BY_HOUR)
    if feature.tier == "batch":
        hour = source.choice((1, 2, 3))
    [organization] = source.choices(tuple(ORGANIZATIONS), (10, 6, 3, 1))
    users = ORGANIZATIONS[organization]
    [user] = source.choices(users, [1 / rank for rank in range(1, len(users) + 1)])
    is_staging = source.randrange(100) < _STAGING_PERCENT
    return _Request(
        feature,
        organization,
        # Work of the night is for a customer, and not for one of its users.
        "" if feature.tier == "batch" else user,
        _moment_ns(source, day, hour),
        ago < RELEASE_DAYS_AGO,
        "staging" if is_staging else "production",
        f"conv-{source.getrandbits(40):010x}" if feature.has_session else "",
        source.getrandbits(128).to_bytes(16, "big"),
    )


def _spike(source: random.Random, day: datetime) -> _Request:
    """A research run of the user who made too many of them."""
    trace_id = source.getrandbits(128).to_bytes(16, "big")
    hour = _SPIKE_HOUR + source.randrange(4)
    moment = _moment_ns(source, day, hour)
    organization, user = SPIKING_USER
    session = "weekly-market-report"
    return _Request(RESEARCH, organization, user, moment, True, "production", session, trace_id)


def _moment_ns(source: random.Random, day: datetime, hour: int) -> int:
    start = int((day + timedelta(hours=hour)).timestamp()) * _SECOND_NS
    return start + source.randrange(3_600 * _SECOND_NS)


def _calls(source: random.Random, request: _Request) -> Iterator[SampleCall]:
    """The calls of a request: the steps of a run, the turns of a conversation, or one call."""
    feature = request.feature
    steps = source.randint(*feature.steps)
    if feature.has_session:
        steps = min(1 + int(source.expovariate(0.9)), 8)
    [model] = source.choices([m for m, _ in feature.models], [n for _, n in feature.models])
    if request.session and not feature.has_session:
        model = OPUS
    moment = request.started_ns
    for step in range(steps):
        call = _call(source, request, model, moment, step)
        yield call
        # A person reads an answer for a while; an agent calls a tool.
        pause = source.uniform(8, 90) if feature.has_session else source.uniform(0.2, 4)
        moment = call.record.end_ns + int(pause * _SECOND_NS)


def _call(
    source: random.Random, request: _Request, model: Model, started_ns: int, step: int
) -> SampleCall:
    values = _attribution(request, step) | _usage(source, request, model, step)
    accident = _accident(source)
    seconds = _seconds(source, model, values)
    if request.feature.is_streamed and model.scope.startswith(attributes.SCOPE_PREFIX):
        values[attributes.REQUEST_STREAM] = True
        if accident is None or accident.is_estimated:
            first = min(0.25 + source.expovariate(4), seconds)
            values[attributes.TIME_TO_FIRST_CHUNK] = round(first, 3)
    failed = False
    if accident is not None:
        _apply(accident, values)
        failed = bool(accident.error)
    record = SpanRecord(
        trace_id=request.trace_id,
        span_id=source.getrandbits(63) + 1,
        parent_span_id=int.from_bytes(request.trace_id[:7], "big") + 1,
        start_ns=started_ns,
        end_ns=started_ns + int(seconds * _SECOND_NS),
        scope=model.scope,
        failed=failed,
        attributes=values,
        resource=_resource(request),
    )
    return SampleCall(record, accident is not None and accident.never_ended)


def _attribution(request: _Request, step: int) -> dict[str, AttributeValue]:
    feature = request.feature
    texts = {
        attributes.USER_ID: request.user,
        attributes.ORGANIZATION_ID: request.organization,
        attributes.SESSION_ID: request.session,
        attributes.FEATURE: feature.name,
        attributes.TEAM: feature.team,
        attributes.PROJECT: feature.project,
        attributes.COST_CENTER: feature.cost_center,
        attributes.ENDPOINT: feature.endpoint,
        attributes.AGENT_ID: _agent(step) if feature == RESEARCH else "",
        f"{attributes.METADATA_PREFIX}plan": PLANS[request.organization],
    }
    return {name: text for name, text in texts.items() if text}


def _agent(step: int) -> str:
    planner, researcher, reviewer = RESEARCH.agents
    if step == 0:
        return planner
    return reviewer if step % _STEPS_PER_REVIEW == 0 else researcher


def _resource(request: _Request) -> dict[str, str]:
    is_new = request.is_after_release
    return {
        attributes.SERVICE_NAME: request.feature.app,
        attributes.SERVICE_VERSION: _NEW_RELEASE if is_new else _OLD_RELEASE,
        attributes.DEPLOYMENT_ENVIRONMENT: request.environment,
    }


def _usage(
    source: random.Random, request: _Request, model: Model, step: int
) -> dict[str, AttributeValue]:
    """What the provider says about the call: models, tier and counts."""
    feature = request.feature
    # What was said before is sent again with each turn or step.
    growing = 1 + 0.45 * step if feature.has_session or feature.agents else 1.0
    longer = _LONGER_PROMPT if feature == CHAT_FEATURE and request.is_after_release else 1.0
    inputs = _around(source, feature.input_tokens * growing * longer)
    outputs = _around(source, feature.output_tokens)
    values: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: feature.operation,
        attributes.PROVIDER_NAME: model.provider,
        attributes.REQUEST_MODEL: model.name,
        attributes.RESPONSE_MODEL: model.name,
        attributes.INPUT_TOKENS: inputs,
    }
    if feature.operation == EMBEDDINGS:
        return values
    values[attributes.RESPONSE_ID] = f"resp_{source.getrandbits(96):024x}"
    values[attributes.OUTPUT_TOKENS] = outputs
    values[attributes.FINISH_REASONS] = ["stop"]
    _add_cache(source, request, model, values, step)
    if model.reasons:
        values[attributes.REASONING_TOKENS] = int(outputs * _REASONING_SHARE * source.random())
    if feature == RESEARCH and model == OPUS:
        values[attributes.WEB_SEARCH_REQUESTS] = source.randrange(_MOST_SEARCHES)
    if feature.tier:
        is_openai = model.provider == "openai"
        name = attributes.OPENAI_SERVICE_TIER if is_openai else attributes.ANTHROPIC_SERVICE_TIER
        values[name] = feature.tier
    return values


def _add_cache(
    source: random.Random,
    request: _Request,
    model: Model,
    values: dict[str, AttributeValue],
    step: int,
) -> None:
    """Cache reads of later steps, and the writes that Anthropic bills."""
    share = request.feature.cached
    inputs = values[attributes.INPUT_TOKENS]
    if not share or not isinstance(inputs, int):
        return
    if step or source.random() < share:
        values[attributes.CACHE_READ_TOKENS] = int(inputs * share * source.uniform(0.8, 1.2))
    if model.provider == "anthropic":
        written = int(inputs * _CACHE_WRITE_SHARE)
        values[attributes.CACHE_WRITE_TOKENS] = values[attributes.CACHE_WRITE_5M_TOKENS] = written


def _around(source: random.Random, median: float) -> int:
    """A count near a median: most are close, a few are many times as large."""
    return round(median * math.exp(source.gauss(0, 0.45)))


def _seconds(source: random.Random, model: Model, values: dict[str, AttributeValue]) -> float:
    outputs = values.get(attributes.OUTPUT_TOKENS)
    speed = model.tokens_per_second * source.uniform(0.7, 1.2)
    return 0.3 + source.expovariate(3) + (outputs / speed if isinstance(outputs, int) else 0)


def _accident(source: random.Random) -> _Accident | None:
    number = source.randrange(10_000)
    for accident in _ACCIDENTS:
        number -= accident.frequency
        if number < 0:
            return accident
    return None


def _apply(accident: _Accident, values: dict[str, AttributeValue]) -> None:
    if accident.missing == _USAGE:
        for name in [name for name in values if name.startswith(_COUNT_PREFIXES)]:
            del values[name]
    for name in (*accident.missing, attributes.RESPONSE_ID if accident.error else ""):
        values.pop(name, None)
    if accident.error:
        values[attributes.ERROR_TYPE] = accident.error
        values.pop(attributes.FINISH_REASONS, None)
    if accident.status:
        values[attributes.HTTP_STATUS_CODE] = accident.status
    if accident.is_estimated:
        values[attributes.USAGE_ESTIMATED] = True
