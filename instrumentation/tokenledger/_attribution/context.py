"""How attribution travels in the OpenTelemetry context of the running code.

Private context keys carry trusted attribution inside this process. Baggage carries the same members
to the services we call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from opentelemetry import baggage, context

from tokenledger._attribution import scope
from tokenledger._attribution.baggage import split_baggage
from tokenledger._attribution.layers import NOTHING, Layers, clean, merge_layers
from tokenledger_semconv.attributes import USER_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from tokenledger._attribution.layers import Layer

_SCOPES: Final = context.create_key("tokenledger-attribution")
_MIDDLEWARE: Final = context.create_key("tokenledger-middleware")
ATTRIBUTED: Final = frozenset((_SCOPES, _MIDDLEWARE))
"""Context keys; a context has one of them if a scope or a web request attributes its calls."""


class _Scopes(NamedTuple):
    """The attribution of the innermost scope, and of all scopes around it."""

    inner: Layer = NOTHING
    outer: Layer = NOTHING


def enter(owner: object, layer: Layer) -> None:
    """Attribute what runs in this context from now on, over the scopes already in effect."""
    current = context.get_current()
    scopes = _Scopes(layer, merge_layers(_scopes(current)))
    running = context.set_value(_SCOPES, scopes, current)
    for name, value in layer.items():
        running = baggage.set_baggage(name, value, running)
    scope.enter(owner, running)


def with_middleware(layer: Layer, current: Context) -> Context:
    """A context whose calls belong to a web request, unless the code of the request differs."""
    return context.set_value(_MIDDLEWARE, layer, current)


def attribution_in(
    current: Context,
    members: Mapping[str, object],
    *,
    provider_user: object,
    per_call: Layer,
    defaults: Layer,
) -> Layer:
    """The attribution of one call, merged from all its sources.

    Args:
        current: the context the call is made in.
        members: its baggage.
        provider_user: the user id in the provider's own request field; `None` if there is none.
        per_call: attribution given with the call itself.
        defaults: attribution given to `configure()`.
    """
    inner, outer = _scopes(current)
    local, trusted = split_baggage(current, members, {**outer, **inner})
    return merge_layers(
        Layers(
            per_call=per_call,
            inner={**inner, **local},
            outer=outer,
            middleware=_middleware(current),
            provider_field=_user_layer(provider_user),
            trusted_baggage=trusted,
            defaults=defaults,
        )
    )


def _scopes(current: Context) -> _Scopes:
    scopes = context.get_value(_SCOPES, current)
    return scopes if isinstance(scopes, _Scopes) else _Scopes()


def _middleware(current: Context) -> Layer:
    return cast("Layer", context.get_value(_MIDDLEWARE, current) or NOTHING)


def _user_layer(user: object) -> Layer:
    return {USER_ID: clean(user)} if isinstance(user, str) and user else NOTHING
