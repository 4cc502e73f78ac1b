"""How attribution rides in the OpenTelemetry context of the running code.

The private keys here are the trusted, local carrier; Baggage carries the same members to services
behind us. Restoring never detaches a token: a token must be given back in the context that made it,
and generators and tasks finish elsewhere. Each frame remembers what it replaced instead, and puts
it back only where it still is in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from opentelemetry import baggage, context

from tokenledger import trust
from tokenledger.precedence import NOTHING, Layers, clean, settle
from tokenledger_semconv.attributes import USER_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from tokenledger.precedence import Layer

_FRAME: Final = context.create_key("tokenledger-attribution")
_MIDDLEWARE: Final = context.create_key("tokenledger-middleware")
ATTRIBUTED: Final = frozenset((_FRAME, _MIDDLEWARE))
"""Context keys of which a context has one if a scope or a web request attributes its calls."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One scope in force: its owner, all that is in force inside it, and what was before it."""

    owner: object
    inner: Layer
    outer: Layer
    previous: Context


def push(owner: object, own: Layer) -> None:
    """Put a scope into force in the running context, over the scopes already there."""
    current = context.get_current()
    frame = Frame(owner, own, _scopes(current), current)
    entered = context.set_value(_FRAME, frame, current)
    for name, value in own.items():
        entered = baggage.set_baggage(name, value, entered)
    context.attach(entered)


def pop(owner: object) -> None:
    """Take the owner's innermost scope out of force, with whatever was left in force inside it."""
    frame = _frame_of(owner)
    if frame is not None:
        context.attach(frame.previous)


def in_force(owner: object) -> bool:
    """Whether the running context is inside a scope of this owner."""
    return _frame_of(owner) is not None


def with_middleware(layer: Layer, current: Context) -> Context:
    """A context whose calls belong to a web request, unless the code behind it says otherwise."""
    return context.set_value(_MIDDLEWARE, layer, current)


def attribution_in(
    current: Context,
    members: Mapping[str, object],
    *,
    provider_user: object,
    per_call: Layer,
    defaults: Layer,
) -> Layer:
    """The attribution of one call, settled.

    Args:
        current: the context the call is made in.
        members: its baggage.
        provider_user: the user id in the provider's own request field; `None` if there is none.
        per_call: what the call itself was given.
        defaults: what `configure()` was given.
    """
    frame = _frame(current)
    inner, outer = (NOTHING, NOTHING) if frame is None else (frame.inner, frame.outer)
    local, trusted = trust.split_baggage(current, members, {**outer, **inner})
    return settle(
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


def _frame(current: Context) -> Frame | None:
    frame = context.get_value(_FRAME, current)
    return frame if isinstance(frame, Frame) else None


def _frame_of(owner: object) -> Frame | None:
    frame = _frame(context.get_current())
    while frame is not None and frame.owner is not owner:
        frame = _frame(frame.previous)
    return frame


def _scopes(current: Context) -> Layer:
    frame = _frame(current)
    return NOTHING if frame is None else settle((frame.inner, frame.outer))


def _middleware(current: Context) -> Layer:
    return cast("Layer", context.get_value(_MIDDLEWARE, current) or NOTHING)


def _user_layer(user: object) -> Layer:
    return {USER_ID: clean(user)} if isinstance(user, str) and user else NOTHING
