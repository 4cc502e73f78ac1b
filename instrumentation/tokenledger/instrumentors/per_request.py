"""Attribution given with one call: `create(..., tokenledger_user_id="u-1")`.

The SDK's method would refuse a keyword it does not know, and the request is recorded further down.
So the keywords are taken off here and wait for the request, which may come later: from a coroutine,
a stream helper, every turn of a tool runner. What leads the request to them is a number in a
header, which the recording of the request takes off before anything is sent.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.failures import report
from tokenledger.precedence import NOTHING, given_layer
from tokenledger.runtime import RUNTIME

if TYPE_CHECKING:
    from tokenledger.instrumentors.patching import Host, Method
    from tokenledger.precedence import Layer

CARRIER: Final = "x-tokenledger-attribution"
"""The header that never leaves the process."""

KEYWORDS: Final[Mapping[str, str]] = {
    "tokenledger_user_id": "user_id",
    "tokenledger_session_id": "session_id",
    "tokenledger_organization_id": "organization_id",
    "tokenledger_feature": "feature",
    "tokenledger_team": "team",
    "tokenledger_team_id": "team",
    "tokenledger_project": "project",
    "tokenledger_cost_center": "cost_center",
    "tokenledger_agent_id": "agent_id",
    "tokenledger_endpoint": "endpoint",
}
"""Keyword of a call -> keyword of `attribution`."""

TAGS: Final = "tokenledger_tags"
"""A mapping of further metadata."""

_ALL: Final = frozenset((*KEYWORDS, TAGS))

_NUMBERS: Final = itertools.count(1)
# Header value -> attribution, for as long as what the method returned is alive.
_WAITING: Final[dict[str, Layer]] = {}


# What `warnings` takes for the import system's, and leaves out when it counts the frames up to the
# app: an SDK's deprecation warning must name the line that calls it, whoever stands between. Ref:
# `_is_internal_frame` in CPython's warnings.py and `is_internal_frame` in _warnings.c, 3.10 to
# 3.14, read 2026-11-25.
_UNCOUNTED: Final = f"{__file__} (importlib._bootstrap)"


def _uncounted(function: Method) -> Method:
    counted: Any = function
    counted.__code__ = counted.__code__.replace(co_filename=_UNCOUNTED)
    return function


def takes_attribution(host: Host, method: Method) -> Method:
    """In place of a method that sends a request: takes our keywords off its call.

    While TokenLedger is told to do nothing they are dropped, so that the switch breaks no app.
    After unpatching they are the SDK's to refuse: a header would be taken off by nobody.
    """

    def take(instance: object, *args: object, **kwargs: object) -> object:
        if _ALL.isdisjoint(kwargs):
            return method(instance, *args, **kwargs)
        return _taken(host, method, (instance, *args), kwargs)

    async def take_async(instance: object, *args: object, **kwargs: object) -> object:
        if _ALL.isdisjoint(kwargs):
            return await method(instance, *args, **kwargs)
        return await _taken(host, method, (instance, *args), kwargs)

    taking: Method = take_async if inspect.iscoroutinefunction(method) else take
    return _uncounted(taking)


@_uncounted
def _taken(host: Host, method: Method, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:  # noqa: ANN401 - the SDK's answer, or what is awaited for it
    if host.tracer is not None:
        return _attributed(method, args, kwargs)
    if RUNTIME.setup.recording:
        return method(*args, **kwargs)
    return method(*args, **_without(kwargs))


def take_off(headers: Mapping[str, Any]) -> tuple[dict[str, Any], Layer]:
    """The headers as they may be sent, and the attribution they lead to."""
    layer = _WAITING.get(str(headers.get(CARRIER)), NOTHING)
    return {name: value for name, value in headers.items() if name != CARRIER}, layer


@_uncounted
def _attributed(method: Method, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    number = str(next(_NUMBERS))
    carrying = _carrying(kwargs, number)
    try:
        answer = method(*args, **carrying)
    except BaseException:
        _WAITING.pop(number, None)
        raise
    try:
        weakref.finalize(answer, _WAITING.pop, number, None).atexit = False
    except TypeError:
        # Plain text, whose request was sent: what sends one later can be referred to.
        _WAITING.pop(number, None)
    return answer


def _without(kwargs: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in kwargs.items() if name not in _ALL}


def _carrying(kwargs: dict[str, object], number: str) -> dict[str, object]:
    rest = _without(kwargs)
    try:
        known = {KEYWORDS[name]: kwargs[name] for name in kwargs if name in KEYWORDS}
        layer = given_layer(known, kwargs.get(TAGS), f"create({TAGS}=)")
        headers = rest.get("extra_headers")
        given: Mapping[str, object] = {}
        if isinstance(headers, Mapping):
            given = cast("Mapping[str, object]", headers)
        rest["extra_headers"] = {**given, CARRIER: number}
        _WAITING[number] = layer
    except Exception as error:  # noqa: BLE001 - the app's call goes on without this attribution
        report("reading a call's attribution", type(error).__name__)
    return rest
