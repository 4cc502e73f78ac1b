"""Arithmetic of model calls, in the words of the providers' price pages."""

from __future__ import annotations

from decimal import Decimal


def mtok(price_usd: str, tokens: int) -> Decimal:
    """US dollars of some tokens at a price for a million."""
    return Decimal(price_usd) * tokens / 1_000_000


def each(price_usd: str, times: int) -> Decimal:
    """US dollars of some uses at a price for a thousand."""
    return Decimal(price_usd) * times / 1_000
