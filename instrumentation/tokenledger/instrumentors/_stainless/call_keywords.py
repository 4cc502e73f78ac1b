"""Attribution given with one call: `create(..., tokenledger_user_id="u-1")`.

The SDK's method would reject a keyword it does not know, and the request is recorded further down.
So the keywords are removed here and stored until the request is sent, which may be later: from a
coroutine, a stream helper, or each turn of a tool runner. A number in a request header leads to
them; the wrapper that records the request removes the header before anything is sent.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._attribution.layers import NOTHING, layer_of
from tokenledger._frames import hide_from_warnings
from tokenledger._guard import report
from tokenledger._state import RUNTIME

if TYPE_CHECKING:
    from tokenledger._attribution.layers import Layer
    from tokenledger.instrumentors._base.patch_table import Host, Method

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
# Header value -> attribution, for as long as the method's result is alive.
_WAITING: Final[dict[str, Layer]] = {}


def takes_attribution(host: Host, method: Method) -> Method:
    """Replace a method that sends a request: removes our keywords from its arguments.

    While TokenLedger is disabled the keywords are dropped, so disabling it breaks no app. After
    unpatching the SDK rejects them: nothing would remove the header.
    """

    def take(instance: object, *args: object, **kwargs: object) -> object:
        if _ALL.isdisjoint(kwargs):
            return method(instance, *args, **kwargs)
        return _call(host, method, (instance, *args), kwargs)

    async def take_async(instance: object, *args: object, **kwargs: object) -> object:
        if _ALL.isdisjoint(kwargs):
            return await method(instance, *args, **kwargs)
        return await _call(host, method, (instance, *args), kwargs)

    wrapper: Method = take_async if inspect.iscoroutinefunction(method) else take
    return hide_from_warnings(wrapper)


@hide_from_warnings
def _call(host: Host, method: Method, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:  # noqa: ANN401 - the SDK's answer, or an awaitable of it
    if host.tracer is not None:
        return _call_attributed(method, args, kwargs)
    if RUNTIME.setup.recording:
        return method(*args, **kwargs)
    return method(*args, **_without_keywords(kwargs))


def pop_attribution(headers: Mapping[str, Any]) -> tuple[dict[str, Any], Layer]:
    """The headers without ours, and the attribution that ours leads to."""
    layer = _WAITING.get(str(headers.get(CARRIER)), NOTHING)
    return {name: value for name, value in headers.items() if name != CARRIER}, layer


@hide_from_warnings
def _call_attributed(method: Method, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    number = str(next(_NUMBERS))
    arguments = _with_carrier(kwargs, number)
    try:
        answer = method(*args, **arguments)
    except BaseException:
        _WAITING.pop(number, None)
        raise
    try:
        weakref.finalize(answer, _WAITING.pop, number, None).atexit = False
    except TypeError:
        # Plain text: its request was sent. Results that send one later allow weak references.
        _WAITING.pop(number, None)
    return answer


def _without_keywords(kwargs: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in kwargs.items() if name not in _ALL}


def _with_carrier(kwargs: dict[str, object], number: str) -> dict[str, object]:
    arguments = _without_keywords(kwargs)
    try:
        known = {KEYWORDS[name]: kwargs[name] for name in kwargs if name in KEYWORDS}
        layer = layer_of(known, kwargs.get(TAGS), f"create({TAGS}=)")
        headers: Mapping[str, object] = {}
        if isinstance(extra_headers := arguments.get("extra_headers"), Mapping):
            headers = cast("Mapping[str, object]", extra_headers)
        arguments["extra_headers"] = {**headers, CARRIER: number}
        _WAITING[number] = layer
    except Exception as error:  # noqa: BLE001 - the app's call goes on without this attribution
        report("reading a call's attribution", type(error).__name__)
    return arguments
