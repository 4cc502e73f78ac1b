"""What a client's call may cost: its own estimate, or its size at the ledger's prices."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.catalog.lookup import load_book
from tokenledger_exporter.pricing.quote import QuoteRequest, quote
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from typing import Any

    import psycopg

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.server.budgets.messages import ReserveRequest

_SIZE: Final = ("provider", "model", "input_tokens", "max_output_tokens")
_FRESH_SECONDS: Final = 60.0
_MAX_BOOKS: Final = 256


class Prices:
    """The ledger's price books, each read at most once a minute. It is thread-safe."""

    def __init__(self) -> None:
        self._books: Final[dict[str, tuple[float, PriceBook]]] = {}

    def book(self, connection: psycopg.Connection[Any], provider: str) -> PriceBook:
        """The prices of a provider."""
        known = self._books.get(provider)
        if known is not None and time.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        book = load_book(connection, provider)
        if len(self._books) >= _MAX_BOOKS:
            self._books.clear()
        self._books[provider] = time.monotonic(), book
        return book


def check_size(request: ReserveRequest) -> None:
    """Refuse a request that does not say what its call may cost, or says it twice.

    Raises:
        InvalidRequestError: the message names what is missing.
    """
    names = [name for name in _SIZE if getattr(request, name) is not None]
    if request.estimate_usd is not None:
        if counts := [name for name in names if name.endswith("_tokens")]:
            raise InvalidRequestError(
                f"estimate_usd and {counts[0]} are both given; send the estimate or the tokens"
            )
        return
    if missing := [name for name in _SIZE if name not in names]:
        raise InvalidRequestError(
            f"{', '.join(missing)} missing; send estimate_usd, or {', '.join(_SIZE)}"
        )


def estimate(
    connection: psycopg.Connection[Any], prices: Prices, request: ReserveRequest
) -> Decimal | None:
    """What the call may cost, in US dollars; `None` if the ledger has no price for it."""
    if request.estimate_usd is not None:
        return Decimal(request.estimate_usd)
    provider = ledger_name(request.provider or "")
    shape = QuoteRequest(
        provider=provider,
        model=request.model or "",
        moment=datetime.now(timezone.utc),
        tier="",
        tokens=TokenVector(
            input_tokens=request.input_tokens, output_tokens=request.max_output_tokens
        ),
    )
    usd = quote(shape, lambda name: prices.book(connection, name)).cost_usd
    return None if usd is None else Decimal(usd)
