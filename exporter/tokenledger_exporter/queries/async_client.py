"""`AsyncTokenLedgerQueries`: the asynchronous client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import areading
from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import acache_plans, arun_steps
from tokenledger_exporter.queries import summaries
from tokenledger_exporter.queries.forecast import (
    SEASONAL,
    ForecastRequest,
    backtest_steps,
    forecast_steps,
)
from tokenledger_exporter.queries.lists.runs import run_page_steps
from tokenledger_exporter.queries.measures.savings import savings_steps
from tokenledger_exporter.queries.over_time import trends
from tokenledger_exporter.queries.paging import CallFilter, aggregate_steps, page_steps
from tokenledger_exporter.queries.report import EVERYTHING, compared_steps, report_steps
from tokenledger_exporter.queries.target import known_database_url
from tokenledger_exporter.queries.why import WhyRequest, why_steps

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Any, TypeVar

    import psycopg
    from typing_extensions import Self

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.forecast import Backtest, MonthForecast
    from tokenledger_exporter.queries.lists.runs import RunPage
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
    from tokenledger_exporter.queries.why import WhyReport

    T = TypeVar("T")


class AsyncTokenLedgerQueries:
    """Queries over one ledger; each method is awaited. Costs are Decimal, in US dollars.

    `days` are 1 or more, up to now. `where` filters by one value of a dimension, or by several:
    `{"team": "ml", "metadata.tier": ["gold", "silver"]}`. Each query opens a connection of its own.
    Used as an async context manager, all queries share one, which tasks use in turn.

    Args:
        database_url: connection string; by default that of `configure()`, else of the environment.
        prepare: cache the plans of statements on the shared connection: for a small page, planning
            takes most of the time. It does not work through a transaction pooler.

    Raises:
        InvalidRequestError: no database URL is known; from a query: an argument is invalid.
    """

    def __init__(self, database_url: str | None = None, *, prepare: bool = False) -> None:
        self._database_url: Final = known_database_url(database_url)
        self._prepares: Final = prepare
        self._stack: Final = AsyncExitStack()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn: Final = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._connection = await self._stack.enter_async_context(areading(self._database_url))
        if self._prepares:
            await acache_plans(self._connection)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection = None
        await self._stack.aclose()

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
        """Cost and counts of the last `days` days."""
        filters = summaries.with_filters(where, user=user_id, model=model, app=app_name)
        return await self._run(summaries.summary_steps(summaries.last_days(days, where=filters)))

    async def get_costs_by_model(
        self, days: int = 30, limit: int = 1_000, *, where: Where | None = None
    ) -> list[ModelCost]:
        """One entry per provider and model, highest cost first."""
        request = summaries.last_days(days, "provider", "model", where=where, limit=limit)
        return await self._run(summaries.models_steps(request))

    async def get_costs_by_user(
        self, days: int = 30, limit: int = 1_000, *, where: Where | None = None
    ) -> list[UserCost]:
        """One entry per user, highest cost first."""
        request = summaries.last_days(days, "user", where=where, limit=limit)
        return await self._run(summaries.users_steps(request))

    async def get_daily_costs(
        self,
        days: int = 30,
        user_id: str | None = None,
        *,
        timezone: str = UTC,
        where: Where | None = None,
    ) -> list[DailyCost]:
        """One entry per day with calls, newest first; `get_daily_trend` has every day."""
        filters = summaries.with_filters(where, user=user_id)
        request = summaries.last_days(days, "day", where=filters, zone=timezone)
        return await self._run(summaries.days_steps(request))

    async def get_daily_trend(
        self, days: int = 30, *, timezone: str = UTC, where: Where | None = None
    ) -> Trend[DailyCost]:
        """The last `days` days including today, oldest first and without gaps."""
        return await self._run(trends.daily_steps(days, timezone, where))

    async def get_hourly_costs(
        self, hours: int = 24, *, timezone: str = UTC, where: Where | None = None
    ) -> Trend[HourlyCost]:
        """The last `hours` hours including this one, oldest first and without gaps."""
        return await self._run(trends.hourly_steps(hours, timezone, where))

    async def get_costs_by(
        self,
        *dimensions: str,
        days: int = 30,
        where: Where | None = None,
        timezone: str = UTC,
        order_by: str = "cost_usd",
        limit: int = EVERYTHING,
    ) -> Report:
        """Costs by any dimensions, `metadata.<key>`, `hour`, `day` or `month`, highest first.

        Args:
            dimensions: what to group by; none gives the total only.
            days: how far back.
            where: filters.
            timezone: time zone of hours, days and months, by its IANA name.
            order_by: cost_usd, calls, tokens, input_tokens, output_tokens or cached_tokens,
                highest first; a dimension, in ascending order; or time: hours, days and months
                in order, and other groups by cost.
            limit: maximum number of groups; the total covers all.
        """
        request = summaries.last_days(
            days, *dimensions, where=where, zone=timezone, limit=limit, order_by=order_by
        )
        return await self._run(report_steps(request))

    async def compare_costs(
        self, *dimensions: str, days: int = 30, where: Where | None = None, limit: int = EVERYTHING
    ) -> Report:
        """Costs compared with the preceding `days`, as `previous_cost_usd` and `change_usd`."""
        request = summaries.last_days(days, *dimensions, where=where, limit=limit)
        return await self._run(compared_steps(request))

    async def why(
        self,
        by: str = "feature",
        days: int = 7,
        *,
        where: Where | None = None,
        detail: bool | None = None,
    ) -> WhyReport:
        """Why the cost of the last `days` days differs from that of the preceding ones.

        Args:
            by: dimension whose values are compared: new and lost ones are causes of their own.
            days: length of both periods.
            where: filters.
            detail: whether to read single calls, which splits the cost per token into output share,
                cache share, service tier and price; by default if there are at most 100,000.
        """
        request = summaries.last_days(days, where=where)
        question = WhyRequest(by, request.since, request.until, request.where, detail)
        return await self._run(why_steps(question))

    async def forecast(
        self,
        month: str = "this",
        *,
        method: str = SEASONAL,
        timezone: str = UTC,
        where: Where | None = None,
    ) -> MonthForecast:
        """What a month will have cost at its end, with an 80 % interval.

        Args:
            month: `this`, `last` or `2026-10`; one that is over has its exact cost.
            method: `seasonal` (hour of the week, day of the month, level and trend), or `mean30`,
                the average of the last 7 days x 30. Less than 14 days of calls use `mean30`.
            timezone: time zone of the month, by its IANA name.
            where: filters.
        """
        return await self._run(forecast_steps(ForecastRequest(month, method, where, timezone)))

    async def backtest_forecast(
        self, *, timezone: str = UTC, where: Where | None = None
    ) -> Backtest:
        """How good `forecast` would have been on days of the last twelve months.

        Args:
            timezone: time zone of the months, by its IANA name.
            where: filters.
        """
        return await self._run(backtest_steps(where, timezone))

    async def get_error_rate(self, days: int = 7, *, where: Where | None = None) -> ErrorRate:
        """How many calls failed."""
        return await self._run(summaries.errors_steps(summaries.last_days(days, where=where)))

    async def get_top_errors(
        self, days: int = 7, limit: int = 10, *, where: Where | None = None
    ) -> list[TopError]:
        """The most frequent failures by error type, provider and model."""
        return await self._run(
            summaries.top_errors_steps(summaries.last_days(days, where=where, limit=limit))
        )

    async def get_latency_percentiles(
        self, days: int = 7, *, where: Where | None = None
    ) -> Latency:
        """How long calls and first tokens of streams took, in milliseconds."""
        return await self._run(summaries.latency_steps(summaries.last_days(days, where=where)))

    async def get_cache_savings(
        self, days: int = 30, *, where: Where | None = None
    ) -> CacheSavings:
        """How much input came from a cache, and what that saved."""
        return await self._run(savings_steps(summaries.last_days(days, where=where)))

    async def get_runs(
        self,
        kind: str = "trace",
        days: int = 7,
        limit: int = 50,
        *,
        order_by: str = "cost",
        where: Where | None = None,
    ) -> RunPage:
        """Agent runs or sessions of the last `days` days with their cost, highest first.

        At most the newest 100,000 calls are read; `is_cut`, `since` and `notes` say so.

        Args:
            kind: trace (an agent run) or session.
            days: how far back; earlier calls of a run are not in its figures.
            limit: maximum number of runs, 1 to 10,000; `total` and `count` cover all.
            order_by: cost, time (latest start first) or calls.
            where: filters; a run has the figures of its calls that match.
        """
        request = summaries.last_days(days, where=where)
        return await self._run(
            run_page_steps(
                kind, request.since, request.until, where or {}, order=order_by, limit=limit
            )
        )

    async def get_projected_monthly_cost(self, *, where: Where | None = None) -> ProjectedMonth:
        """The projected cost of 30 days, from the last 7; the result names the method."""
        return await self._run(summaries.month_steps(where))

    async def fetch_raw(  # noqa: PLR0913 - one argument per filter
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
        """The calls, oldest first, page by page.

        Args:
            project: only calls of this project.
            request_type: only calls of this operation (chat, embeddings ...).
            time_from: start, included; UTC if it has no zone.
            time_to: end, excluded.
            limit: rows per page, 1 to 10,000.
            cursor: `next_cursor` of the preceding page.
            where: more filters.
        """
        filters = summaries.with_filters(where, project=project, operation=request_type)
        call_filter = CallFilter(time_from, time_to, filters)
        return await self._run_single(page_steps(call_filter, limit, cursor))

    async def aggregate(  # noqa: PLR0913 - one argument per filter
        self,
        group_by: str | Sequence[str] = "day",
        metrics: Sequence[str] = ("sum_total", "sum_cost", "count_requests"),
        *,
        time_from: datetime | None = None,
        time_to: datetime | None = None,
        timezone: str = UTC,
        where: Where | None = None,
    ) -> list[Aggregate]:
        """Sums, counts and averages by group, ordered by group.

        Args:
            group_by: `day`, `project`, `type`, any other dimension, or several.
            metrics: sum_input, sum_output, sum_total, sum_cost, count_requests,
                avg_total_per_request, avg_cost_per_request.
            time_from: start, included; UTC if it has no zone.
            time_to: end, excluded.
            timezone: time zone of hours, days and months, by its IANA name.
            where: filters.
        """
        call_filter = CallFilter(time_from, time_to, where)
        return await self._run_single(aggregate_steps(call_filter, group_by, metrics, timezone))

    async def _run(self, steps: Steps[T]) -> T:
        """Run a query in one transaction, so that all its statements see the same snapshot."""
        async with self._open() as connection, connection.transaction():
            return await arun_steps(connection, steps)

    async def _run_single(self, steps: Steps[T]) -> T:
        """Run a query of one statement, which needs no transaction."""
        async with self._open() as connection:
            return await arun_steps(connection, steps)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
        if self._connection is None:
            async with areading(self._database_url) as connection:
                yield connection
            return
        async with self._turn:
            yield self._connection
