"""Runs code under a context of its own, and restores the previous context without a token.

OpenTelemetry's tokens must be detached in the context that made them, but generators, tasks and
threads finish elsewhere. So the scope is stored in the context itself, with the context before it.
Its owner may be entered again, nested, and shared by threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry import context

if TYPE_CHECKING:
    from opentelemetry.context import Context

_SCOPE: Final = context.create_key("tokenledger-scope")


@dataclass(frozen=True, slots=True, eq=False)
class _Scope:
    owner: object
    previous: Context


def enter(owner: object, running: Context) -> None:
    """Run what follows in this context, until the owner leaves."""
    scope = _Scope(owner, context.get_current())
    context.attach(context.set_value(_SCOPE, scope, running))


def leave(owner: object) -> None:
    """Restore the context before the owner's innermost scope; does nothing outside of its scopes.

    Scopes that were left open inside end with it.
    """
    scope = _scope_of(owner)
    if scope is not None:
        context.attach(scope.previous)


def is_active(owner: object) -> bool:
    """Whether the running context is inside a scope of this owner."""
    return _scope_of(owner) is not None


def _scope_of(owner: object) -> _Scope | None:
    scope = _innermost(context.get_current())
    while scope is not None and scope.owner is not owner:
        scope = _innermost(scope.previous)
    return scope


def _innermost(current: Context) -> _Scope | None:
    scope = current.get(_SCOPE)
    return scope if isinstance(scope, _Scope) else None
