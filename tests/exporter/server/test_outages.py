"""Answers stay true through outages, kills and shutdowns."""

from __future__ import annotations

import contextlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from support.ledger_rows import ask
from support.otlp_requests import COST, body, call, request_of
from support.otlp_service import exporting, serving, unavailable, until
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.otlp_service import Running

COUNT = "SELECT count(*), count(DISTINCT event_id), sum(cost_usd) FROM token_ledger_events"


@contextlib.contextmanager
def locked(url: str) -> Generator[None]:
    """No row can be written while the block runs."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE token_ledger_events IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_while_the_database_is_unavailable_senders_are_asked_to_retry(
    postgres_server: str, database_url: str
) -> None:
    sent = body(call())
    with serving(database_url, grpc=True) as service:
        with unavailable(postgres_server, database_url):
            answer = service.ask("/v1/traces", sent)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert b"nothing was stored: cannot connect to" in answer.body
            assert service.ask("/ready").status == 503
            assert service.ask("/health").status == 200
            with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
                error = _refusal(channel, sent)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert _retry_seconds(error) == 5
        until(lambda: service.ask("/v1/traces", sent).status == 200)
        assert service.ask("/ready").status == 200
    assert ask(database_url, COUNT) == [(1, 1, COST)]


def test_ready_says_whether_rows_are_accepted_without_traffic(
    postgres_server: str, empty_database_url: str
) -> None:
    with serving(empty_database_url) as service:
        assert service.ask("/ready").status == 503
        assert b"tokenledger db migrate" in service.ask("/ready").body
        assert service.ask("/health").status == 200
        migrate(empty_database_url)
        until(lambda: service.ask("/ready").status == 200, 5)
        with unavailable(postgres_server, empty_database_url):
            until(lambda: service.ask("/ready").status == 503, 5)
        until(lambda: service.ask("/ready").status == 200, 5)


def test_a_failed_request_does_not_keep_the_service_unready(
    postgres_server: str, database_url: str
) -> None:
    with serving(database_url) as service:
        with unavailable(postgres_server, database_url):
            assert service.ask("/v1/traces", body(call())).status == 503
            assert service.ask("/ready").status == 503
        until(lambda: service.ask("/ready").status == 200, 5)


def test_a_request_refused_by_a_full_queue_can_be_sent_again(database_url: str) -> None:
    requests = [body(*(call() for _ in range(40))) for _ in range(3)]
    with serving(database_url, "--max-waiting", "60", grpc=True) as service:
        assert service.ask("/v1/traces", body(call())).status == 200
        with locked(database_url), ThreadPoolExecutor() as pool:
            waiting = pool.submit(service.ask, "/v1/traces", requests[0])
            until(lambda: b'"waiting": 40' in service.ask("/health").body)
            answer = service.ask("/v1/traces", requests[1])
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            # A waiting request is answered before a Collector gives up.
            assert waiting.result().status == 503
        for sent in requests:
            until(partial(service.accepts, sent))
    assert ask(database_url, COUNT) == [(121, 121, 121 * COST)]


def test_without_tables_the_answer_names_the_command_to_run(empty_database_url: str) -> None:
    with serving(empty_database_url) as service:
        answer = service.ask("/v1/traces", body(call()))
        assert answer.status == 503
        assert b"tokenledger db migrate" in answer.body


def test_a_request_in_flight_is_stored_and_answered_before_shutdown(database_url: str) -> None:
    with serving(database_url) as service:
        assert service.ask("/v1/traces", body(call())).status == 200
        with ThreadPoolExecutor() as pool:
            with locked(database_url):
                answer = pool.submit(service.ask, "/v1/traces", body(call()))
                until(lambda: b'"waiting": 1' in service.ask("/health").body)
                service.process.send_signal(signal.SIGTERM)
                until(lambda: not _listens(service))
            assert answer.result().status == 200
    assert ask(database_url, COUNT) == [(2, 2, 2 * COST)]


def test_a_kill_loses_no_answered_request_and_a_resend_adds_no_duplicate(
    database_url: str,
) -> None:
    requests = [body(call()) for _ in range(200)]
    answered: list[int] = []
    with contextlib.suppress(AssertionError), serving(database_url) as service:
        may_kill = threading.Event()

        def send() -> None:
            for number, sent in enumerate(requests):
                with contextlib.suppress(OSError):
                    if service.ask("/v1/traces", sent).status == 200:
                        answered.append(number)
                if len(answered) == 20:
                    may_kill.set()

        sender = threading.Thread(target=send)
        sender.start()
        assert may_kill.wait(60)
        service.process.kill()
        sender.join()
    stored = ask(database_url, "SELECT count(*) FROM token_ledger_events")[0][0]
    assert 20 <= len(answered) <= stored < len(requests)
    with serving(database_url) as service:
        assert {service.ask("/v1/traces", sent).status for sent in requests} == {200}
    assert ask(database_url, COUNT) == [(200, 200, 200 * COST)]


def test_several_services_with_several_workers_share_a_ledger(database_url: str) -> None:
    """Requests go to both, as from a sender that lost an answer: no deadlock, no duplicate row."""
    requests = [body(*(call() for _ in range(25))) for _ in range(40)]
    with (
        serving(database_url, "--workers", "2") as one,
        serving(database_url, "--workers", "2", "--no-keep") as other,
        ThreadPoolExecutor(8) as pool,
    ):

        def send(number: int) -> int:
            service = (one, other)[number % 2]
            sent = requests[number // 2 if number % 4 < 2 else -1 - number // 2]
            return service.ask("/v1/traces", sent).status

        assert set(pool.map(send, range(80))) == {200}
        for sent in requests:
            assert one.ask("/v1/traces", sent).status == 200
        not_deduplicated = "SELECT count(*) FROM token_ledger_events WHERE NOT settled"
        until(lambda: ask(database_url, not_deduplicated) == [(0,)])
    assert ask(database_url, COUNT) == [(1_000, 1_000, 1_000 * COST)]


def test_two_span_reports_of_one_call_become_one_row(database_url: str) -> None:
    """A framework's span and an SDK's, in different requests, while maintenance runs."""
    outer = call({"gen_ai.response.id": "chatcmpl-0123456789abcdef"})
    inner = call({"gen_ai.response.id": "chatcmpl-0123456789abcdef", "user.id": "known"})
    inner.trace_id = outer.trace_id
    inner.start_time_unix_nano = outer.start_time_unix_nano
    inner.end_time_unix_nano = outer.end_time_unix_nano
    with serving(database_url) as service:
        for span, scope in ((outer, "a.framework"), (inner, "an.sdk")):
            sent = request_of(span, scope=scope).SerializeToString()
            assert service.ask("/v1/traces", sent).body == b""
        query = "SELECT count(*), bool_and(settled), max(user_id) FROM token_ledger_events"
        until(lambda: ask(database_url, query) == [(1, True, "known")])


def _listens(service: Running) -> bool:
    with contextlib.suppress(OSError):
        service.ask("/health")
        return True
    return False


def _refusal(channel: grpc.Channel, sent: bytes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        exporting(channel)(sent)
    return refused.value


def _retry_seconds(error: grpc.RpcError) -> int:
    """The retry delay in the trailers, where OTLP clients look for it."""
    trailers: Any = error.trailing_metadata()
    info = RetryInfo()
    details = dict(trailers)["grpc-status-details-bin"]
    assert Status.FromString(details).details[0].Unpack(info)
    seconds: int = info.retry_delay.seconds
    return seconds
