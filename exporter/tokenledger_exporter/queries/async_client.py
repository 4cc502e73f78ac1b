"""`AsyncTokenLedgerQueries`: every question, for coroutines."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import areading
from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import aask, akeep_plans
from tokenledger_exporter.queries import summaries, trends
from tokenledger_exporter.queries.paging import Stretch, aggregate_plan, page_plan
from tokenledger_exporter.queries.report import EVERYTHING, compared_plan, report_plan
from tokenledger_exporter.queries.savings import savings_plan
from tokenledger_exporter.queries.target import known_database_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Any, TypeVar

    import psycopg
    from typing_extensions import Self

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Plan
    from tokenledger_exporter.queries.paging import RawPage
    from tokenledger_exporter.queries.report import Report
    from tokenledger_exporter.queries.results import (
        Aggregate,
        CacheSavings,
        CostSummary,
        DailyCost,
        ErrorRate,
        HourlyCost,
        Latency,
        ModelCost,
        ProjectedMonth,
        TopError,
        Trend,
        UserCost,
    )

    T = TypeVar("T")


class AsyncTokenLedgerQueries:
    """The questions of `TokenLedgerQueries` for coroutines; each is awaited.

    A question opens a connection of its own; used as an async context manager, all share one, which
    tasks take in turn.

    Args:
        database_url: connection string; else that of `configure()`, else of the environment.
        prepare: the shared connection keeps the plans of statements asked before, which takes most
            of the time of a small page. Not through a transaction pooler.

    Raises:
        UsageError: no database URL is known. From any question: what was asked does not exist.
    """

    def __init__(self, database_url: str | None = None, *, prepare: bool = False) -> None:
        self._database_url: Final = known_database_url(database_url)
        self._prepares: Final = prepare
        self._kept: Final = AsyncExitStack()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn: Final = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._connection = await self._kept.enter_async_context(areading(self._database_url))
        if self._prepares:
            await akeep_plans(self._connection)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection = None
        await self._kept.aclose()

    @contextmanager
    def show_sql(self) -> Generator[list[str]]:
        """Collect the SQL of the queries in a `with` block, each statement with its values.

        with queries.show_sql() as statements:
            await queries.get_costs_by("team")

        Every statement ends with a semicolon and runs in psql as it is.
        """
        with collect_sql() as statements:
            yield statements

    async def get_cost_summary(
        self,
        days: int = 30,
        user_id: str | None = None,
        model: str | None = None,
        app_name: str | None = None,
        *,
        where: Where | None = None,
    ) -> CostSummary:
        """Everything in the last `days` days."""
        told = summaries.given(where, user=user_id, model=model, app=app_name)
        return await self._ask(summaries.summary_plan(summaries.asked_days(days, where=told)))

    async def get_costs_by_model(
        self, days: int = 30, limit: int = 1_000, *, where: Where | None = None
    ) -> list[ModelCost]:
        """One entry a provider and model, dearest first."""
        asked = summaries.asked_days(days, "provider", "model", where=where, limit=limit)
        return await self._ask(summaries.models_plan(asked))

    async def get_costs_by_user(
        self, days: int = 30, limit: int = 1_000, *, where: Where | None = None
    ) -> list[UserCost]:
        """One entry a user, dearest first."""
        asked = summaries.asked_days(days, "user", where=where, limit=limit)
        return await self._ask(summaries.users_plan(asked))

    async def get_daily_costs(
        self,
        days: int = 30,
        user_id: str | None = None,
        *,
        timezone: str = UTC,
        where: Where | None = None,
    ) -> list[DailyCost]:
        """One entry a day that has calls, newest first; `get_daily_trend` has every day."""
        told = summaries.given(where, user=user_id)
        asked = summaries.asked_days(days, "day", where=told, zone=timezone)
        return await self._ask(summaries.days_plan(asked))

    async def get_daily_trend(
        self, days: int = 30, *, timezone: str = UTC, where: Where | None = None
    ) -> Trend[DailyCost]:
        """The last `days` days of a time zone, today among them, oldest first and without a gap."""
        return await self._ask(trends.daily_plan(days, timezone, where))

    async def get_hourly_costs(
        self, hours: int = 24, *, timezone: str = UTC, where: Where | None = None
    ) -> Trend[HourlyCost]:
        """The last `hours` hours, this one among them, oldest first and without a gap."""
        return await self._ask(trends.hourly_plan(hours, timezone, where))

    async def get_costs_by(
        self,
        *dimensions: str,
        days: int = 30,
        where: Where | None = None,
        timezone: str = UTC,
        order_by: str = "cost_usd",
        limit: int = EVERYTHING,
    ) -> Report:
        """Groups by any dimensions, `metadata.<key>`, `hour`, `day` or `month`, dearest first.

        Args:
            dimensions: what to group by; none is the total alone.
            days: how far back.
            where: what to narrow it to.
            timezone: whose hours, days and months, by its IANA name.
            order_by: cost_usd, calls, input_tokens, output_tokens or cached_tokens.
            limit: most groups; the total covers all.
        """
        asked = summaries.asked_days(
            days, *dimensions, where=where, zone=timezone, limit=limit, order_by=order_by
        )
        return await self._ask(report_plan(asked))

    async def compare_costs(
        self, *dimensions: str, days: int = 30, where: Where | None = None, limit: int = EVERYTHING
    ) -> Report:
        """The same beside the `days` before: each row has `previous_cost_usd` and `change_usd`."""
        asked = summaries.asked_days(days, *dimensions, where=where, limit=limit)
        return await self._ask(compared_plan(asked))

    async def get_error_rate(self, days: int = 7, *, where: Where | None = None) -> ErrorRate:
        """How many calls failed."""
        return await self._ask(summaries.errors_plan(summaries.asked_days(days, where=where)))

    async def get_top_errors(
        self, days: int = 7, limit: int = 10, *, where: Where | None = None
    ) -> list[TopError]:
        """The commonest failures by error type, provider and model."""
        return await self._ask(
            summaries.top_errors_plan(summaries.asked_days(days, where=where, limit=limit))
        )

    async def get_latency_percentiles(
        self, days: int = 7, *, where: Where | None = None
    ) -> Latency:
        """How long calls took, and how long to the first token of a stream, milliseconds."""
        return await self._ask(summaries.latency_plan(summaries.asked_days(days, where=where)))

    async def get_cache_savings(
        self, days: int = 30, *, where: Where | None = None
    ) -> CacheSavings:
        """How much input came from a cache, and what that saved."""
        return await self._ask(savings_plan(summaries.asked_days(days, where=where)))

    async def get_projected_monthly_cost(self, *, where: Where | None = None) -> ProjectedMonth:
        """What 30 days cost at the pace of the last 7; the answer names the method."""
        return await self._ask(summaries.month_plan(where))

    async def fetch_raw(  # noqa: PLR0913 - what is asked, one argument each
        self,
        *,
        project: str | None = None,
        request_type: str | None = None,
        time_from: datetime | None = None,
        time_to: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
        where: Where | None = None,
    ) -> RawPage:
        """The calls themselves, oldest first, a page at a time.

        Args:
            project: of this project alone.
            request_type: of this operation alone (chat, embeddings ...).
            time_from: start, included; without a zone it is UTC.
            time_to: end, not included.
            limit: rows a page, 1 to 10,000.
            cursor: `next_cursor` of the page before.
            where: what else to narrow it to.
        """
        told = summaries.given(where, project=project, operation=request_type)
        stretch = Stretch(time_from, time_to, told)
        return await self._ask_once(page_plan(stretch, limit, cursor))

    async def aggregate(  # noqa: PLR0913 - what is asked, one argument each
        self,
        group_by: str | Sequence[str] = "day",
        metrics: Sequence[str] = ("sum_total", "sum_cost", "count_requests"),
        *,
        time_from: datetime | None = None,
        time_to: datetime | None = None,
        timezone: str = UTC,
        where: Where | None = None,
    ) -> list[Aggregate]:
        """Sums, counts and averages by group, in the order of the groups.

        Args:
            group_by: day, project, type, any other dimension, or several of them.
            metrics: sum_input, sum_output, sum_total, sum_cost, count_requests,
                avg_total_per_request, avg_cost_per_request.
            time_from: start, included; without a zone it is UTC.
            time_to: end, not included.
            timezone: whose hours, days and months, by its IANA name.
            where: what to narrow it to.
        """
        stretch = Stretch(time_from, time_to, where)
        return await self._ask_once(aggregate_plan(stretch, group_by, metrics, timezone))

    async def _ask(self, plan: Plan[T]) -> T:
        """The answer, all of it as the ledger was at one moment."""
        async with self._open() as connection, connection.transaction():
            return await aask(connection, plan)

    async def _ask_once(self, plan: Plan[T]) -> T:
        """The answer of a plan of one statement, which needs no transaction around it."""
        async with self._open() as connection:
            return await aask(connection, plan)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
        if self._connection is None:
            async with areading(self._database_url) as connection:
                yield connection
            return
        async with self._turn:
            yield self._connection
