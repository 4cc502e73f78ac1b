"""Makes rows of a price book with made-up prices that are easy to multiply."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tokenledger_exporter.pricing.price_row import PriceRow


def price(kind: str, usd: str, **fields: Any) -> PriceRow:  # noqa: ANN401 - any field
    """A price of `model-x` at OpenAI for a million tokens, at the standard tier, at all times."""
    defaults: dict[str, Any] = {
        "price_id": "sheet-1",
        "above_input_tokens": 0,
        "provider": "openai",
        "model": "model-x",
        "model_pattern": "^model-x$",
        "match_order": 0,
        "tier": "standard",
        "per": 1_000_000,
        "valid_from": None,
        "valid_to": None,
        "daily_from": None,
        "daily_to": None,
        "source": "genai-prices test",
    }
    return PriceRow(kind=kind, usd=Decimal(usd), **(defaults | fields))
