"""Providers whose own figure is the cost of their calls, instead of the price list."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.audit_log import log_action
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    import psycopg

_SQL: Final = statements("prices")


def preferring_providers(connection: psycopg.Connection[Any]) -> list[str]:
    """The providers whose reported cost is preferred, by name."""
    return [provider for (provider,) in connection.execute(_SQL["preferring_providers"])]


def prefer_reported(
    connection: psycopg.Connection[Any], provider: str, *, preferred: bool = True
) -> bool:
    """Prefer the cost that a provider reports, or go back to its prices; later calls are affected.

    Args:
        connection: the ledger.
        provider: the ledger's name of the provider.
        preferred: whether the reported cost is preferred.

    Returns:
        Whether this changes anything.

    Raises:
        InvalidRequestError: the ledger has no price and no call of the provider.
    """
    values = {"provider": provider}
    with connection.transaction():
        known = [name for (name,) in connection.execute(_SQL["known_providers"], values)]
        if provider not in known:
            close = " or ".join(get_close_matches(provider, known))
            remedy = f"did you mean {close}?" if close else "'prices list' has the names"
            raise InvalidRequestError(
                f"unknown provider {provider!r}: the ledger has no price and no call of it; "
                f"{remedy}"
            )
        statement = _SQL["prefer_reported" if preferred else "prefer_prices"]
        changed = connection.execute(statement, values).rowcount > 0
        if changed:
            action = "prefer reported cost" if preferred else "prefer price list"
            log_action(connection, action, {}, values)
    return changed
