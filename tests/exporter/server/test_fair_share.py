"""A sender gets a fair share of a worker, and its failures do not affect others."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from typing_extensions import override

from support.ledger_rows import ask
from support.otlp_requests import COST, body, call
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.errors import DatabaseUnreachableError
from tokenledger_exporter.server.decoding.otlp_protobuf import decode_traces
from tokenledger_exporter.server.ingest.bounds import RequestBounds
from tokenledger_exporter.server.ingest.cardinality import CardinalityGuard
from tokenledger_exporter.server.ingest.fair_share import Budget, WorkMeter
from tokenledger_exporter.server.ingest.queue import IngestQueue, QueueFullError, UnavailableError
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.store.batch import WriteResult

LARGE: Final = 64 * 1_048_576


class FailingForOneSender(BatchWriter):
    """A writer that fails for certain rows, as with an error of the database."""

    @override
    def write(self, rows: Sequence[LedgerRow]) -> WriteResult:
        if any(row.organization_id == "globex" and row.user_id == "poison" for row in rows):
            raise DatabaseUnreachableError("the statement failed (ProgramLimitExceeded)")
        return super().write(rows)


class WithoutPrices(BatchWriter):
    """A writer whose price lookup has a bug."""

    @override
    def prices_of(self, provider: str) -> PriceBook:
        raise KeyError(provider)


@contextmanager
def running_queue(writer: BatchWriter, slots: int = 10_000) -> Generator[IngestQueue]:
    budgets = Budget(slots, is_shared=True), Budget(LARGE, is_shared=True)
    queue = IngestQueue(writer, CardinalityGuard(0), *budgets, WorkMeter())
    queue.start()
    try:
        yield queue
    finally:
        queue.stop()


async def send(queue: IngestQueue, organization: str, *users: str) -> Counter[str]:
    records = decode_traces(body(*(call({"user.id": user}) for user in users))).records
    header = SpoolHeader(format_version=FORMAT_VERSION, ledger="", organization=organization)
    return await queue.commit(records, header, 4_096, RequestBounds(30))


def test_one_senders_failure_does_not_affect_another(database_url: str) -> None:
    """Globex keeps sending rows that cannot be written; acme is not affected."""

    async def both(queue: IngestQueue) -> tuple[int, int]:
        failed = stored = 0
        for number in range(12):
            outcomes = await asyncio.gather(
                send(queue, "globex", "poison"),
                send(queue, "acme", f"u{number}"),
                send(queue, "globex", f"g{number}"),
                return_exceptions=True,
            )
            failed += isinstance(outcomes[0], UnavailableError)
            stored += outcomes[1] == Counter()
        return failed, stored

    with running_queue(FailingForOneSender(database_url)) as queue:
        assert asyncio.run(both(queue)) == (12, 12)
    acme = "SELECT count(*) FROM token_ledger_events WHERE organization_id = 'acme'"
    assert ask(database_url, acme) == [(12,)]
    globex = "SELECT count(*) > 0 FROM token_ledger_events WHERE organization_id = 'globex'"
    assert ask(database_url, globex) == [(True,)]


def test_a_price_look_up_that_fails_loses_no_call(database_url: str) -> None:
    with running_queue(WithoutPrices(database_url)) as queue:
        assert asyncio.run(send(queue, "acme", "stored")) == Counter()
    query = "SELECT user_id, cost_status, cost_usd, cost_note FROM token_ledger_events"
    note = "the price lookup failed (KeyError): run 'tokenledger reprice'"
    assert ask(database_url, query) == [("stored", "unpriced", None, note)]


def test_a_large_request_is_written_in_portions_among_other_requests(database_url: str) -> None:
    """It is written completely, and each call once."""

    async def both(queue: IngestQueue) -> None:
        large = asyncio.create_task(send(queue, "globex", *(f"g{n}" for n in range(700))))
        for number in range(20):
            assert await send(queue, "acme", f"u{number}") == Counter()
        assert await large == Counter()

    with running_queue(BatchWriter(database_url)) as queue:
        asyncio.run(both(queue))
    query = "SELECT count(*), count(DISTINCT user_id), sum(cost_usd) FROM token_ledger_events"
    assert ask(database_url, query) == [(720, 720, 720 * COST)]


def test_one_sender_cannot_fill_the_queue_for_others(database_url: str) -> None:
    """The queue is started only when it is full."""
    budgets = Budget(40, is_shared=True), Budget(LARGE, is_shared=True)
    queue = IngestQueue(BatchWriter(database_url), CardinalityGuard(0), *budgets, WorkMeter())

    async def fill() -> None:
        waiting = [asyncio.create_task(send(queue, "globex", *"abcde")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await send(queue, "globex", "one more")
        assert not queue.has_room("globex")
        waiting.append(asyncio.create_task(send(queue, "acme", *"abcde")))
        await asyncio.sleep(0)
        queue.start()
        assert await asyncio.gather(*waiting) == [Counter()] * 5

    asyncio.run(fill())
    queue.stop()


@pytest.mark.parametrize("total", [10, 100, 10_000])
def test_a_sender_holds_no_more_than_is_free(total: int) -> None:
    budget = Budget(total, is_shared=True)
    while budget.acquire("globex", 1):
        pass
    assert budget.used <= total // 2 + 1
    assert budget.acquire("acme", total // 4)
    assert not budget.acquire("globex", 1)
    budget.release("globex", 1)
    assert budget.has_room("other")


def test_any_amount_fits_an_unused_budget_and_leaves_room() -> None:
    budget = Budget(100, is_shared=True)
    assert budget.acquire("globex", 5_000)
    assert budget.acquire("acme", 25)
    budget.release("globex", 5_000)
    budget.release("acme", 25)
    assert budget.used == 0


def test_an_unshared_budget_can_be_used_completely() -> None:
    budget = Budget(100, is_shared=False)
    assert budget.acquire("", 100)
    assert not budget.acquire("", 1)


def test_a_sender_that_causes_most_of_the_work_is_over_while_others_send() -> None:
    meter = WorkMeter()
    meter.charge("globex", 3.0)
    assert not meter.is_over("globex"), "a single sender may use everything"
    meter.charge("acme", 0.1)
    assert meter.is_over("globex")
    assert not meter.is_over("acme")
    meter.charge("", 9.0)
    assert not meter.is_over(""), "a sender of the operator is never over"
