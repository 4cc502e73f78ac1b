"""Any language reserves, settles and releases over HTTP, as exactly as an app in Python."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.ledger_rows import ask
from support.otlp_requests import COST, body, call
from support.otlp_service import serving, unavailable, until
from tokenledger_exporter.budgets.budgets import budget_status, pause_budget, set_budget
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.server.budgets.service import BudgetService
from tokenledger_exporter.server.ingest.fair_share import Budget as FairShare
from tokenledger_exporter.server.responses import RefusedError

if TYPE_CHECKING:
    from support.otlp_service import Running

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
JSON = {"content-type": "application/json"}


def send(service: Running, name: str, fields: object) -> tuple[int, Any]:
    """Status and document of a request."""
    answer = service.ask(f"/v1/budgets/{name}", json.dumps(fields).encode(), JSON)
    return answer.status, json.loads(answer.body)


def reserve(service: Running, usd: str, **dimensions: str) -> tuple[int, Any]:
    return send(service, "reserve", {"dimensions": dimensions, "estimate_usd": usd})


def sums(url: str, budget: str) -> tuple[str, ...]:
    """Spent, reserved and left of a budget without a dimension."""
    [status] = budget_status(url, budget)
    return tuple(map(plain_usd, (status.spent_usd, status.reserved_usd, status.left_usd)))


def test_a_reservation_is_taken_and_its_call_frees_it(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "life", limit="1", where={"team": "life"})
    fields = {"dimensions": {"team": "life"}, "estimate_usd": "0.25"}
    status, reserved = send(service, "reserve", fields)
    assert (status, reserved["reserved_usd"]) == (200, "0.25")
    [inside] = reserved["budgets"]
    del inside["resets_at"]
    assert inside == {
        "budget": "life",
        "value": "",
        "limit_usd": "1",
        "spent_usd": "0",
        "reserved_usd": "0.25",
    }
    assert sums(ledger_url, "life") == ("0", "0.25", "0.75")
    span = call({"tokenledger.team": "life"})
    settled = {
        "reservation_id": reserved["reservation_id"],
        "cost_usd": "0.0035",
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
    }
    assert send(service, "settle", settled) == (
        200,
        {"reservation_id": reserved["reservation_id"], "is_in_ledger": False},
    )
    # The request has cost less than its estimate; the rest is free at once.
    assert sums(ledger_url, "life") == ("0", "0.0035", "0.9965")
    assert service.accepts(body(span))
    assert sums(ledger_url, "life") == ("0.0035", "0", "0.9965")
    # A repeated request says the same.
    assert send(service, "settle", settled)[1]["is_in_ledger"] is True


def test_a_call_without_room_is_402_and_names_the_budget(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "small", limit="0.10", where={"team": "small"})
    set_budget(ledger_url, "roomy", limit="100", where={"team": "small"})
    assert reserve(service, "0.08", team="small")[0] == 200
    status, refused = reserve(service, "0.05", team="small")
    assert status == 402
    [budget] = refused["budgets"]
    resets_at = budget.pop("resets_at")
    assert budget == {
        "budget": "small",
        "value": "",
        "reason": "limit",
        "limit_usd": "0.1",
        "spent_usd": "0",
        "reserved_usd": "0.08",
        "needed_usd": "0.05",
        "remedy": "raise it with 'tokenledger budget set small --limit ...'",
    }
    [in_sql] = budget_status(ledger_url, "small")
    assert datetime.fromisoformat(resets_at.replace("Z", "+00:00")) == in_sql.resets_at
    assert "no room in small; raise it with" in refused["message"]
    # Nothing was reserved in the other one.
    assert sums(ledger_url, "roomy") == ("0", "0.08", "99.92")


def test_a_released_reservation_is_free_once(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "unsent", limit="1", where={"team": "unsent"})
    _, reserved = reserve(service, "0.40", team="unsent")
    released = {"reservation_id": reserved["reservation_id"]}
    assert send(service, "release", released) == (200, {**released, "released_usd": "0.4"})
    assert sums(ledger_url, "unsent") == ("0", "0", "1")
    assert send(service, "release", released)[0] == 404
    assert send(service, "settle", released)[0] == 404


def test_without_a_matching_budget_the_same_requests_work(service: Running) -> None:
    status, reserved = reserve(service, "5", team="without budget")
    assert (status, reserved["budgets"], reserved["reserved_usd"]) == (200, [], "0")
    named = {"reservation_id": reserved["reservation_id"]}
    assert send(service, "settle", {**named, "cost_usd": "4"})[0] == 200
    assert send(service, "release", named) == (200, {**named, "released_usd": "0"})


def test_a_size_is_priced_by_the_ledger(service: Running, ledger_url: str) -> None:
    """gpt-4o: $2.50 per million input tokens, $10 per million output tokens."""
    set_budget(ledger_url, "sized", limit="1", where={"provider": "openai", "model": "gpt-4o"})
    size = {"provider": "OpenAI", "model": "gpt-4o", "input_tokens": 1_000}
    status, reserved = send(service, "reserve", {**size, "max_output_tokens": 100})
    assert (status, Decimal(reserved["reserved_usd"])) == (200, COST)
    assert [budget["budget"] for budget in reserved["budgets"]] == ["sized"]


def test_a_call_without_a_price_is_judged_by_the_budgets_policy(
    service: Running, ledger_url: str
) -> None:
    size = {"provider": "vllm", "model": "acme-7b", "input_tokens": 9, "max_output_tokens": 9}
    set_budget(ledger_url, "own-model", limit="1", where={"model": "acme-7b"})
    assert send(service, "reserve", size)[0] == 200
    set_budget(ledger_url, "own-model", unpriced="refuse")
    status, refused = send(service, "reserve", size)
    assert (status, refused["budgets"][0]["reason"]) == (402, "unpriced")
    assert "--unpriced allow" in refused["budgets"][0]["remedy"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "provider, model, input_tokens, max_output_tokens missing; send estimate_usd, or"),
        ({"provider": "openai", "model": "gpt-4o"}, "input_tokens, max_output_tokens missing"),
        ({"estimate_usd": "1", "input_tokens": 3}, "send the estimate or the tokens"),
        ({"estimate_usd": 0.02}, 'US dollars are text, like "0.02"'),
        ({"estimate_usd": "NaN"}, 'US dollars are text, like "0.02"'),
        ({"estimate_usd": "-1"}, 'US dollars are text, like "0.02"'),
        ({"estimate_usd": "1e999999999"}, 'US dollars are text, like "0.02"'),
        ({"estimate_usd": "1", "dimensions": {"color": "red"}}, "unknown dimension 'color'; use"),
        ({"estimate_usd": "1", "dimensions": {"team": 3}}, "$.dimensions[...]"),
        ({"estimate_usd": "1", "dimensions": {"team": "a\0b"}}, "$.dimensions[...]"),
        ({"estimate_usd": "1", "dimensions": {"user": "u" * 256}}, "$.dimensions[...]"),
        ({"estimate_usd": "1", "dimensions": {"model": "a"}, "model": "b"}, "is given twice"),
        ({"estimate_usd": "1", "lifetime_seconds": 0}, "$.lifetime_seconds"),
        ({"estimate_usd": "1", "span_id": SPAN}, "span_id is given without trace_id"),
        ({"estimate_usd": "1", "trace_id": "xyz"}, "$.trace_id"),
        ({"estimate_usd": "1", "limit": 3}, "unknown field `limit`"),
        ([], "Expected `object`, got `array`"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_cannot_be_right_is_400_and_says_why(
    service: Running, fields: object, message: str
) -> None:
    status, problem = send(service, "reserve", fields)
    assert status == 400
    assert message in problem["message"]


@pytest.mark.parametrize(
    ("path", "sent", "headers", "status"),
    [
        ("/v1/budgets/reserve", b"{", JSON, 400),
        ("/v1/budgets/reserve", b'{"dimensions":' + b"[" * 60_000, JSON, 400),
        ("/v1/budgets/reserve", b'{"dimensions": {"team": "\xff"}}', JSON, 400),
        ("/v1/budgets/reserve", b"{}", {}, 415),
        ("/v1/budgets/reserve", b"{}", {**JSON, "content-encoding": "gzip"}, 415),
        ("/v1/budgets/reserve", b" " * 65_537, JSON, 413),
        ("/v1/budgets/reserve", None, JSON, 405),
        ("/v1/budgets", b"{}", JSON, 405),
        ("/v1/budgets/refund", b"{}", JSON, 404),
        ("/v1/budgets?limit=0", None, JSON, 400),
        ("/v1/budgets?limit=x", None, JSON, 400),
        ("/v1/budgets?team=ml", None, JSON, 400),
        ("/v1/budgets?budget=%00", None, JSON, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_mistakes_have_a_status_and_a_sentence(
    service: Running, path: str, sent: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = service.ask(path, sent, headers)
    assert answer.status == status
    assert json.loads(answer.body)["message"]
    if status == 405:
        assert answer.headers["allow"] == ("POST" if "reserve" in path else "GET")


@pytest.mark.parametrize("name", ["settle", "release"])
@pytest.mark.parametrize(
    "reservation_id", ["x", "lease-of-an-app", "held-0000000000000000-" + "0" * 32]
)
def test_an_unknown_reservation_is_404(service: Running, name: str, reservation_id: str) -> None:
    assert send(service, name, {"reservation_id": reservation_id})[0] == 404


def test_the_lease_of_a_process_cannot_be_released(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "leased", limit="1", where={"team": "leased"})
    with psycopg.connect(ledger_url) as connection:
        reserving = "SELECT FROM token_ledger_reserve('app', '{\"team\": \"leased\"}', 0.01, true)"
        connection.execute(reserving.encode())
    assert send(service, "release", {"reservation_id": "app"})[0] == 404
    assert sums(ledger_url, "leased")[1] != "0"


def test_the_list_equals_the_status_in_sql(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "each-user", limit="5", where={"team": "list"}, each="user", per="day")
    for user in ("ada", "ben", "ada"):
        assert reserve(service, "0.5", team="list", user=user)[0] == 200
    document = json.loads(service.ask("/v1/budgets?budget=each-user").body)
    shown = [
        (each["value"], each["left_usd"], each["each"], each["filters"], each["period"])
        for each in document["budgets"]
    ]
    assert shown == [
        ("ada", "4", "user", {"team": ["list"]}, "day"),
        ("ben", "4.5", "user", {"team": ["list"]}, "day"),
    ]
    assert document["is_cut"] is False
    assert json.loads(service.ask("/v1/budgets?budget=each-user&limit=1").body)["is_cut"] is True
    [(everything,)] = ask(ledger_url, "SELECT count(*) FROM token_ledger_budget_status")
    assert len(json.loads(service.ask("/v1/budgets").body)["budgets"]) == everything


def test_many_clients_at_once_never_pass_the_limit(service: Running, ledger_url: str) -> None:
    """40 requests of $0.10 against $1: ten get it."""
    set_budget(ledger_url, "crowd", limit="1", where={"team": "crowd"})
    with ThreadPoolExecutor(16) as threads:
        waiting = [threads.submit(reserve, service, "0.1", team="crowd") for _ in range(40)]
        answers = [each.result()[0] for each in waiting]
    assert (answers.count(200), answers.count(402)) == (10, 30)
    assert sums(ledger_url, "crowd") == ("0", "1", "0")


def test_a_locked_budget_keeps_no_call_from_being_stored(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "locked", limit="1", where={"team": "locked"})
    assert reserve(service, "0.1", team="locked")[0] == 200
    with psycopg.connect(ledger_url) as connection, ThreadPoolExecutor(80) as threads:
        connection.execute("SELECT FROM token_ledger_budget_accounts FOR UPDATE")
        waiting = [threads.submit(reserve, service, "0.1", team="locked") for _ in range(80)]
        assert service.accepts(body(call()))
        # More than 64 wait, so some are refused at once; the others after two seconds.
        statuses = {each.result()[0] for each in waiting}
    assert statuses == {503}
    assert reserve(service, "0.1", team="locked")[0] == 200


def test_without_the_database_it_is_503_and_then_works_again(
    postgres_server: str, database_url: str
) -> None:
    set_budget(database_url, "away", limit="1")
    with serving(database_url) as service:
        assert reserve(service, "0.1")[0] == 200
        with unavailable(postgres_server, database_url):
            answer = service.ask("/v1/budgets/reserve", b'{"estimate_usd": "0.1"}', JSON)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert b"nothing was changed: cannot connect to" in answer.body
        until(lambda: reserve(service, "0.1")[0] == 200)


def test_a_paused_budget_refuses_nothing(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "asleep", limit="0.01", where={"team": "asleep"})
    pause_budget(ledger_url, "asleep")
    assert reserve(service, "3", team="asleep")[0] == 200


def test_a_sender_that_waits_too_often_leaves_room_for_others(database_url: str) -> None:
    waiting = FairShare(8, is_shared=True)
    budgets = BudgetService(database_url, waiting, has_senders=True)
    while waiting.has_room("noisy"):
        waiting.acquire("noisy", 1)
    with pytest.raises(RefusedError) as refused:
        asyncio.run(budgets.answer("/v1/budgets", b"", b"", "noisy"))
    assert (refused.value.refusal.status, refused.value.refusal.retry_seconds) == (503, 1)
    assert asyncio.run(budgets.answer("/v1/budgets", b"", b"", "quiet"))[0] == 200
    budgets.close()
