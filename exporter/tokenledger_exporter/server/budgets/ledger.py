"""Reserves, settles, releases and lists, each in one transaction of the database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from tokenledger_exporter.budgets.definition import read_each
from tokenledger_exporter.domain.budget import TRACE
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.server.budgets import answers, reservation_ids
from tokenledger_exporter.server.budgets.estimate import Prices, check_size, estimate
from tokenledger_exporter.server.budgets.messages import BudgetList, Released, Settled
from tokenledger_exporter.server.responses import Refusal, RefusedError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from tokenledger_exporter.server.budgets.connections import BudgetConnections
    from tokenledger_exporter.server.budgets.messages import (
        Refused,
        ReleaseRequest,
        Reservation,
        ReserveRequest,
        SettleRequest,
    )

_SQL: Final = statements("budgets")
_UNKNOWN: Final = Refusal(
    404,
    "unknown reservation: it was released, or its call is in the ledger and the request does not "
    "name its trace_id and span_id",
)


class BudgetLedger:
    """Answers requests about budgets; any thread may ask.

    Args:
        connections: the ledger.
    """

    def __init__(self, connections: BudgetConnections) -> None:
        self._connections: Final = connections
        self._prices: Final = Prices()

    def reserve(self, request: ReserveRequest, organization: str) -> Reservation | Refused:
        """Reserve money for one call in every budget that matches it, or in none.

        Args:
            request: the call.
            organization: the organization of the sender's token; "" if it has none.

        Raises:
            InvalidRequestError: a dimension is unknown, or the size of the call is missing.
            LedgerError: the database did not answer; nothing was reserved.
        """
        check_size(request)
        dimensions = _dimensions(request, organization)
        holder = reservation_ids.new_id(organization)
        with self._connections.transaction() as cursor:
            values: dict[str, Any] = {
                "holder": holder,
                "dimensions": Jsonb(dimensions),
                "usd": estimate(cursor.connection, self._prices, request),
                "app_name": dimensions.get("app", ""),
                "lifetime": timedelta(seconds=request.lifetime_seconds),
                "span_key": _span_key(request),
                "organization": organization,
            }
            rows = cursor.execute(_SQL["reserve_for_client"], values).fetchall()
        if any(row["is_refused"] for row in rows):
            return answers.refused(rows)
        return answers.reservation(holder if rows else reservation_ids.without_money(holder), rows)

    def settle(self, request: SettleRequest, organization: str) -> Settled:
        """Say what the call of a reservation has cost, and which call it is.

        Raises:
            RefusedError: there is no such reservation of this organization.
            LedgerError: the database did not answer; nothing was changed.
        """
        _check_id(request.reservation_id, organization)
        _span_key(request)
        is_in_ledger = not reservation_ids.holds_money(request.reservation_id)
        if not is_in_ledger:
            values = {
                "holder": request.reservation_id,
                "usd": None if request.cost_usd is None else Decimal(request.cost_usd),
                "trace_id": request.trace_id,
                "span_id": request.span_id,
                "organization": organization,
            }
            with self._connections.transaction() as cursor:
                has_reservation = _only(cursor.execute(_SQL["settle"], values).fetchone())
                if request.trace_id:
                    is_in_ledger = _only(cursor.execute(_SQL["has_call"], values).fetchone())
            if not (has_reservation or is_in_ledger):
                raise RefusedError(_UNKNOWN)
        return Settled(request.reservation_id, is_in_ledger)

    def release(self, request: ReleaseRequest, organization: str) -> Released:
        """Free what a call reserved that was not sent; raises as `settle`."""
        _check_id(request.reservation_id, organization)
        usd: Decimal | None = Decimal(0)
        if reservation_ids.holds_money(request.reservation_id):
            values = {"holder": request.reservation_id}
            with self._connections.transaction() as cursor:
                usd = _only(cursor.execute(_SQL["release"], values).fetchone())
        if usd is None:
            raise RefusedError(_UNKNOWN)
        return Released(request.reservation_id, plain_usd(usd))

    def budgets(self, name: str | None, limit: int, organization: str) -> BudgetList:
        """The accounts of the budgets that a sender may see.

        Args:
            name: a budget; `None` is every one.
            limit: the most accounts.
            organization: as for `reserve`.
        """
        values = {"name": name, "limit": limit + 1, "organization": organization}
        with self._connections.transaction() as cursor:
            rows = cursor.execute(_SQL["status_for_client"], values).fetchall()
        return BudgetList([answers.state(row) for row in rows[:limit]], len(rows) > limit)


def _dimensions(request: ReserveRequest, organization: str) -> dict[str, str]:
    """The dimensions by their names in the ledger; empty ones are left out."""
    dimensions = {
        "provider": request.provider or "",
        "model": request.model or "",
        TRACE: request.trace_id,
    }
    for spelling, value in request.dimensions.items():
        name = read_each(spelling)
        if dimensions.get(name, value) not in {"", value}:
            raise InvalidRequestError(f"the dimension {name!r} is given twice, with two values")
        dimensions[name] = value
    if organization:
        dimensions["organization"] = organization
    dimensions["provider"] = ledger_name(dimensions["provider"])
    return {name: value for name, value in dimensions.items() if value}


def _span_key(request: ReserveRequest | SettleRequest) -> str:
    """The key of the call's row in reservations; "" if the request names no call.

    Raises:
        InvalidRequestError: only one of trace and span is given.
    """
    if not request.span_id:
        return ""
    if not request.trace_id:
        raise InvalidRequestError("span_id is given without trace_id; send both")
    return f"{request.trace_id}:{request.span_id}"


def _check_id(reservation_id: str, organization: str) -> None:
    if not reservation_ids.belongs_to(reservation_id, organization):
        raise RefusedError(_UNKNOWN)


def _only(row: dict[str, Any] | None) -> Any:  # noqa: ANN401 - the type of the column
    [value] = (row or {}).values()
    return value
