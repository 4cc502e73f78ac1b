"""A sender takes its own share of a worker, and its failures are its own."""

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
from tokenledger_exporter.server.ingest.queue import UnavailableError, QueueFullError, IngestQueue
from tokenledger_exporter.server.ingest.fair_share import Budget, WorkMeter
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.store.batch import WriteResult

LARGE: Final = 64 * 1_048_576


class Poisoned(BatchWriter):
    """A writer that fails, as one of the database's faults would make it, with a sender's rows."""

    @override
    def write(self, rows: Sequence[LedgerRow]) -> WriteResult:
        if any(row.organization_id == "globex" and row.user_id == "poison" for row in rows):
            raise DatabaseUnreachableError("the database did not do it (ProgramLimitExceeded)")
        return super().write(rows)


class WithoutPrices(BatchWriter):
    """A writer whose price look-up has a bug."""

    @override
    def prices_of(self, provider: str) -> PriceBook:
        raise KeyError(provider)


@contextmanager
def taking(writer: BatchWriter, places: int = 10_000) -> Generator[IngestQueue]:
    budgets = Budget(places, is_shared=True), Budget(LARGE, is_shared=True)
    intake = IngestQueue(writer, CardinalityGuard(0), *budgets, WorkMeter())
    intake.start()
    try:
        yield intake
    finally:
        intake.stop()


async def send(intake: IngestQueue, organization: str, *users: str) -> Counter[str]:
    records = decode_traces(body(*(call({"user.id": user}) for user in users))).records
    header = SpoolHeader(format_version=FORMAT_VERSION, ledger="", organization=organization)
    return await intake.commit(records, header, 4_096, RequestBounds(30))


def test_one_senders_failure_is_nobody_elses(database_url: str) -> None:
    """Globex sends what cannot be written, again and again; acme notices nothing."""

    async def both(intake: IngestQueue) -> tuple[int, int]:
        failed = taken = 0
        for number in range(12):
            outcomes = await asyncio.gather(
                send(intake, "globex", "poison"),
                send(intake, "acme", f"u{number}"),
                send(intake, "globex", f"g{number}"),
                return_exceptions=True,
            )
            failed += isinstance(outcomes[0], UnavailableError)
            taken += outcomes[1] == Counter()
        return failed, taken

    with taking(Poisoned(database_url)) as intake:
        assert asyncio.run(both(intake)) == (12, 12)
    told = "SELECT count(*) FROM token_ledger_events WHERE organization_id = 'acme'"
    assert ask(database_url, told) == [(12,)]
    own = "SELECT count(*) > 0 FROM token_ledger_events WHERE organization_id = 'globex'"
    assert ask(database_url, own) == [(True,)]


def test_a_price_look_up_that_fails_loses_no_call(database_url: str) -> None:
    with taking(WithoutPrices(database_url)) as intake:
        assert asyncio.run(send(intake, "acme", "kept")) == Counter()
    told = "SELECT user_id, cost_status, cost_usd, cost_note FROM token_ledger_events"
    note = "the price look-up failed (KeyError): run 'tokenledger reprice'"
    assert ask(database_url, told) == [("kept", "unpriced", None, note)]


def test_a_large_request_of_one_is_written_in_turns_with_the_others(database_url: str) -> None:
    """All of it is, and each of its calls once."""

    async def both(intake: IngestQueue) -> None:
        large = asyncio.create_task(send(intake, "globex", *(f"g{n}" for n in range(700))))
        for number in range(20):
            assert await send(intake, "acme", f"u{number}") == Counter()
        assert await large == Counter()

    with taking(BatchWriter(database_url)) as intake:
        asyncio.run(both(intake))
    told = "SELECT count(*), count(DISTINCT user_id), sum(cost_usd) FROM token_ledger_events"
    assert ask(database_url, told) == [(720, 720, 720 * COST)]


def test_a_full_queue_of_one_leaves_room_for_others(database_url: str) -> None:
    """Nothing is written before the queue is full."""
    budgets = Budget(40, is_shared=True), Budget(LARGE, is_shared=True)
    intake = IngestQueue(BatchWriter(database_url), CardinalityGuard(0), *budgets, WorkMeter())

    async def fill() -> None:
        waiting = [asyncio.create_task(send(intake, "globex", *"abcde")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await send(intake, "globex", "one more")
        assert not intake.has_room("globex")
        waiting.append(asyncio.create_task(send(intake, "acme", *"abcde")))
        await asyncio.sleep(0)
        intake.start()
        assert await asyncio.gather(*waiting) == [Counter()] * 5

    asyncio.run(fill())
    intake.stop()


@pytest.mark.parametrize("total", [10, 100, 10_000])
def test_a_sender_holds_no_more_than_is_left(total: int) -> None:
    budget = Budget(total, is_shared=True)
    while budget.take("globex", 1):
        pass
    assert budget.used <= total // 2 + 1
    assert budget.take("acme", total // 4)
    assert not budget.take("globex", 1)
    budget.give_back("globex", 1)
    assert budget.has_room("other")


def test_what_is_alone_is_never_too_much_and_leaves_room() -> None:
    budget = Budget(100, is_shared=True)
    assert budget.take("globex", 5_000)
    assert budget.take("acme", 25)
    budget.give_back("globex", 5_000)
    budget.give_back("acme", 25)
    assert budget.used == 0


def test_without_senders_to_tell_apart_all_of_it_is_anybodys() -> None:
    budget = Budget(100, is_shared=False)
    assert budget.take("", 100)
    assert not budget.take("", 1)


def test_who_causes_most_of_the_work_is_over_while_others_work() -> None:
    meter = WorkMeter()
    meter.charge("globex", 3.0)
    assert not meter.is_over("globex"), "alone, it may use all"
    meter.charge("acme", 0.1)
    assert meter.is_over("globex")
    assert not meter.is_over("acme")
    meter.charge("", 9.0)
    assert not meter.is_over(""), "the operator's own"
