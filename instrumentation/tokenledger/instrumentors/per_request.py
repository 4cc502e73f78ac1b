"""Attribution given with one call: `create(..., tokenledger_user_id="u-1")`.

The SDK's method would refuse a keyword it does not know, and the request is recorded further down.
So the keywords are taken off here and ride down in a header value, which the recording of the
request takes off before anything is sent. The header's text is empty: the attribution stands in a
Python attribute of it that no HTTP client would send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.failures import report
from tokenledger.precedence import NOTHING, given_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger.instrumentors.patching import Host, Wrapper
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


class _Carried(str):
    """An empty header value with the attribution of one call."""

    __slots__ = ("layer",)
    layer: Layer


def takes_attribution(_host: Host) -> Wrapper:
    """Around a method that sends a request: takes our keywords off its call."""

    def wrapper(
        wrapped: Callable[..., object],
        _instance: object,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        if _ALL.isdisjoint(kwargs):
            return wrapped(*args, **kwargs)
        return wrapped(*args, **_carrying(kwargs))

    return wrapper


def take_off(headers: Mapping[str, Any]) -> tuple[dict[str, Any], Layer]:
    """The headers as they may be sent, and the attribution that rode in them."""
    carried = headers.get(CARRIER)
    layer = carried.layer if isinstance(carried, _Carried) else NOTHING
    return {name: value for name, value in headers.items() if name != CARRIER}, layer


def _carrying(kwargs: dict[str, object]) -> dict[str, object]:
    rest = {name: value for name, value in kwargs.items() if name not in _ALL}
    try:
        known = {KEYWORDS[name]: kwargs[name] for name in kwargs if name in KEYWORDS}
        carried = _Carried()
        carried.layer = given_layer(known, kwargs.get(TAGS))
        headers = rest.get("extra_headers")
        given: dict[str, object] = {}
        if isinstance(headers, Mapping):
            given.update(cast("Mapping[str, object]", headers))
        rest["extra_headers"] = {**given, CARRIER: carried}
    except Exception as error:  # noqa: BLE001 - the app's call goes on without this attribution
        report("reading a call's attribution", type(error).__name__)
    return rest
