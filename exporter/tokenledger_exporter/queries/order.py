"""The order of a report's groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import BUCKETS
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Sequence

_SQL: Final = statements("queries")

ORDERS: Final = ("cost_usd", "calls", "input_tokens", "output_tokens", "cached_tokens")
"""Sort keys that begin with the highest figure."""

TOKENS: Final = "tokens"
"""The sort key of input and output tokens together, highest first."""

BY_TIME: Final = "time"
"""The sort key of hours, days and months in order; groups without them are sorted by cost.

A dimension of the report is a sort key too, in ascending order.
"""


def check_order(order_by: str, names: Sequence[str]) -> None:
    """Reject an unknown sort key of a report by these dimensions.

    Raises:
        InvalidRequestError: the message lists the sort keys.
    """
    keys = (*ORDERS, TOKENS, BY_TIME, *names)
    if order_by not in keys:
        raise InvalidRequestError(f"unknown sort key {order_by!r}; use one of {', '.join(keys)}")


def order_terms(
    names: Sequence[str], groups: Sequence[sql.Composable], order_by: str
) -> sql.Composed:
    """The terms of ORDER BY; the labels follow, so that ties have an order too.

    Args:
        names: the dimensions.
        groups: their SQL.
        order_by: the sort key.
    """
    terms = [groups[number] for number in first_labels(names, order_by)]
    if order_by == TOKENS:
        terms.append(sql.SQL(fragment(_SQL["order_by_tokens"])))
    else:
        figure = order_by if order_by in ORDERS else ORDERS[0]
        terms.append(sql.SQL("{} DESC").format(sql.Identifier(figure)))
    return sql.SQL(", ").join(terms)


def first_labels(names: Sequence[str], order_by: str) -> list[int]:
    """The numbers of the labels that come before the figure."""
    if order_by in {*ORDERS, TOKENS}:
        return []
    if order_by == BY_TIME:
        return [number for number, name in enumerate(names) if name in BUCKETS]
    return [names.index(order_by)] if order_by in names else []
