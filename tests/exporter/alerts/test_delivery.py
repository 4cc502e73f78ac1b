"""Messages arrive once; when they may have arrived twice, they say so and are counted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from exporter.alerts.conftest import SECRET
from support.ledger_rows import ask
from support.loopback import said
from tokenledger_exporter.alerts.alerts import alert_history, list_alerts, send_test, set_alert
from tokenledger_exporter.alerts.background import AlertThread
from tokenledger_exporter.alerts.sender import send_waiting
from tokenledger_exporter.maintenance.runner import MaintenanceRunner

if TYPE_CHECKING:
    from collections.abc import Generator

    from exporter.alerts.conftest import Watched
    from tokenledger_exporter.alerts.sender import Sent


def fire(watched: Watched, *targets: str, users: int = 1) -> None:
    """Queue a message per user to each target."""
    where_to = targets or (watched.webhook,)
    set_alert(watched.url, "ml", on="spend", above="100", by="user", to=where_to)
    for number in range(users):
        watched.spend("101", user_id=f"user{number}")
    assert watched.check().fired == users


@pytest.fixture
def hanging() -> Generator[str]:
    """A target that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"webhook+http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_webhook_is_signed_and_has_an_idempotency_key(watched: Watched) -> None:
    fire(watched)
    watched.send()
    [request] = watched.target.requests
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["idempotency-key"] == headers["webhook-id"] == request.json()["delivery_id"]
    assert request.json()["value"] == "user0"
    assert request.json()["observed"] == "101"


def test_living_senders_never_send_the_same_message(watched: Watched) -> None:
    fire(watched, users=12)
    start = threading.Barrier(4)
    results: list[Sent] = []

    def keep() -> None:
        with psycopg.connect(watched.url, autocommit=True) as connection:
            start.wait()
            results.append(send_waiting(connection))

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.delivered for result in results) == 12
    assert sum(result.repeats for result in results) == 0
    keys = [request.headers["idempotency-key"] for request in watched.target.requests]
    assert len(keys) == len(set(keys)) == 12


KILLED_BEFORE_COMMIT = """
import os, signal, sys
import psycopg
from tokenledger_exporter.alerts import channels
from tokenledger_exporter.alerts.sender import send_waiting

send = channels.send
def send_and_die(*args):
    send(*args)
    os.kill(os.getpid(), signal.SIGKILL)
channels.send = send_and_die
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    send_waiting(connection)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_sender_killed_between_answer_and_commit_sends_a_marked_repeat(
    watched: Watched,
) -> None:
    fire(watched)
    died = subprocess.run([sys.executable, "-c", KILLED_BEFORE_COMMIT, watched.url], check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(watched.target.requests) == 1
    # The claim has not expired, so another sender waits.
    assert watched.send().delivered == 0
    with psycopg.connect(watched.url) as connection:
        connection.execute("UPDATE token_ledger_alert_deliveries SET claimed_until = now()")
    sent = watched.send()
    assert (sent.delivered, sent.repeats) == (1, 1)
    first, second = watched.target.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert not first.json()["is_possible_repeat"]
    assert second.json()["is_possible_repeat"]
    assert "You may have this message already" in second.json()["text"]
    assert [each.possible_repeats for each in alert_history(watched.url)] == [1]
    assert [state.possible_repeats for state in list_alerts(watched.url)] == [1]


def test_a_target_that_answers_500_is_tried_again_with_growing_pauses(watched: Watched) -> None:
    fire(watched)
    watched.target.on("/hook", said({}, 500), said({}, 503), said({}))
    pauses = "SELECT round(extract(epoch FROM next_at - now())) FROM token_ledger_alert_deliveries"
    for pause, status in ((30, 500), (60, 503)):
        sent = watched.send()
        assert (sent.delivered, sent.failed) == (0, 1)
        assert f"the webhook answered {status}" in sent.troubles[0]
        [(seconds,)] = ask(watched.url, pauses)
        assert pause - 5 <= seconds <= pause
    assert watched.send().delivered == 1
    # A refusal is no arrival.
    assert not watched.target.requests[-1].json()["is_possible_repeat"]


def test_a_message_is_given_up_after_a_day_and_counted(watched: Watched) -> None:
    fire(watched)
    watched.target.on("/hook", said({}, 500))
    with psycopg.connect(watched.url) as connection:
        connection.execute(
            "UPDATE token_ledger_alert_deliveries SET created_at = now() - interval '25 hours'"
        )
    assert watched.send().undeliverable == 1
    assert watched.send().failed == 0
    assert [state.undeliverable for state in list_alerts(watched.url)] == [1]


def test_over_waits_for_the_message_that_it_ends(watched: Watched) -> None:
    fire(watched)
    watched.target.on("/hook", said({}, 500), said({}))
    with psycopg.connect(watched.url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
    assert watched.check().over == 1
    sent = watched.send()
    assert (sent.delivered, sent.failed) == (0, 1)
    assert watched.send().delivered == 2
    events = [request.json()["event"] for request in watched.target.requests]
    assert events == ["fired", "fired", "over"]


def test_a_hanging_target_is_limited_in_time_and_delays_no_other(
    watched: Watched, hanging: str
) -> None:
    fire(watched, hanging, watched.webhook, users=3)
    sent = watched.send(0.3)
    # One of three tries hangs: a target that fails is left for this pass.
    assert (sent.delivered, sent.failed) == (3, 1)
    marks = "SELECT count(*) FROM token_ledger_alert_deliveries WHERE is_possible_repeat"
    assert ask(watched.url, marks) == [(1,)]


def test_a_hanging_target_does_not_delay_maintenance(watched: Watched, hanging: str) -> None:
    fire(watched, hanging)
    alerts = AlertThread(watched.url)
    with MaintenanceRunner(watched.url, last_step=alerts) as runner:
        runner.round()
        runner.round()
    # Both rounds ended before the delivery, which takes 10 seconds, said that it failed.
    assert alerts.ended() == ([], [])


def test_a_missing_variable_a_refused_connection_and_a_line_break_are_said(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WITH_BREAK", "webhook+http://127.0.0.1:1/\nX: y")
    monkeypatch.setenv("CLOSED", "webhook+http://127.0.0.1:1/services/T0/B0/sEcReT")
    fire(watched, "env:MISSING", "env:WITH_BREAK", "env:CLOSED")
    sent = watched.send()
    assert sent.failed == 3
    text = "\n".join(sent.troubles)
    assert "the environment variable MISSING is not set" in text
    assert "env:WITH_BREAK holds a line break" in text
    assert "cannot connect to the webhook (ConnectionRefusedError)" in text
    stored = ask(watched.url, "SELECT last_error FROM token_ledger_alert_deliveries")
    assert "sEcReT" not in text + str(stored)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_apprise_delivers_and_its_url_is_never_seen(
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    watched.target.on("/sEcReT", said({}), said({}, 500))
    monkeypatch.setenv("CHAT", watched.target.url.replace("http://", "json://") + "/sEcReT")
    fire(watched, "env:CHAT")
    assert watched.send().delivered == 1
    [request] = watched.target.requests
    assert request.json()["title"] == "Spend of user user0 is above $100 per day"
    [result] = send_test(watched.url, "ml")
    assert result.error == "the target did not accept the message"
    assert "sEcReT" not in caplog.text + "".join(capfd.readouterr())


def test_a_round_of_the_thread_checks_and_sends(watched: Watched) -> None:
    set_alert(watched.url, "ml", on="spend", above="100", per="month", to=[watched.webhook])
    with psycopg.connect(watched.url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model, cost_usd, cost_status)"
            " VALUES ('p', 'm', 101, 'priced')"
        )
    alerts = AlertThread(watched.url)
    alerts()
    assert alerts.ended(30) == (["alerts: 1 fired, 1 delivered"], [])
    alerts()
    assert alerts.ended(30) == ([], []), "the next round is not due"
