"""What may be written about an alert, what is never stored, and the command line."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg_errors

from exporter.alerts.conftest import SECRET
from support.command_line import run
from support.database_roles import refusal, roles_of
from support.ledger_rows import ask
from support.loopback import said
from tokenledger_exporter.alerts import targets
from tokenledger_exporter.alerts.alerts import set_alert, show_alert
from tokenledger_exporter.alerts.background import AlertRound, run_alerts
from tokenledger_exporter.alerts.message import safe
from tokenledger_exporter.alerts.targets import TargetError, resolve
from tokenledger_exporter.alerts.webhook import key_of
from tokenledger_exporter.budgets.budgets import set_budget
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.erase import erase

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.alerts.conftest import Watched

SPEND: dict[str, Any] = {"on": "spend", "above": "100", "to": ["env:CHAT"]}


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "needs --on"),
    ({"on": "spend", "above": "1"}, "and --to"),
    ({**SPEND, "on": "fraud"}, "unknown kind of alert 'fraud'; use one of budget, spend"),
    ({**SPEND, "above": "fifty"}, "invalid threshold 'fifty': use US dollars"),
    ({**SPEND, "above": "0"}, "invalid threshold"),
    ({**SPEND, "above": "-1"}, "invalid threshold"),
    ({**SPEND, "above": "NaN"}, "invalid threshold"),
    ({**SPEND, "above": "Infinity"}, "invalid threshold"),
    ({**SPEND, "above": "5%"}, "invalid threshold"),
    ({**SPEND, "on": "errors", "above": "100%"}, "use percentages below 100"),
    ({"on": "spend", "to": ["env:CHAT"]}, "needs --above, such as 100"),
    ({"on": "errors", "to": ["env:CHAT"]}, "needs --above, such as 5%"),
    ({**SPEND, "per": "fortnight"}, "unknown period 'fortnight'; use one of hour, day"),
    ({**SPEND, "timezone": "Mars/Base"}, "unknown time zone 'Mars/Base'"),
    ({**SPEND, "where": {"tem": "ml"}}, "unknown dimension 'tem'; use one of"),
    ({**SPEND, "where": {"day": "x"}}, "cannot filter by 'day'"),
    ({**SPEND, "where": {"team": []}}, "the filter 'team' has no value"),
    ({**SPEND, "by": "hour"}, "an alert cannot watch every hour"),
    ({**SPEND, "by": "colour"}, "unknown dimension 'colour'"),
    ({**SPEND, "budget": "ml"}, "an alert on spend has no budget"),
    ({"on": "budget", "to": ["env:CHAT"]}, "needs --budget NAME"),
    ({"on": "budget", "budget": "x", "to": ["env:CHAT"]}, "unknown budget 'x'"),
    ({"on": "budget", "budget": "x", "above": "1", "to": ["env:CHAT"]}, "omit --where"),
    ({**SPEND, "to": ["slack://T/B/C"]}, "a slack:// URL may hold a secret and is not stored"),
    ({**SPEND, "to": ["https://host/x"]}, "a https:// URL may hold a secret"),
    ({**SPEND, "to": ["hello"]}, "this target may hold a secret"),
    ({**SPEND, "to": ["env:A\nB"]}, "a target holds a line break"),
    ({**SPEND, "to": ["webhook+https://a/\nb"]}, "a target holds a line break"),
    ({**SPEND, "to": ["webhook+https://me:pw@host/"]}, "no user, password, query or fragment"),
    ({**SPEND, "to": ["webhook+https://host/?token=x"]}, "no user, password, query"),
    ({**SPEND, "to": ["webhook+https:///path"]}, "the webhook's URL is malformed"),
    ({**SPEND, "to": ["webhook+https://host:port/"]}, "the webhook's URL is malformed"),
    ({**SPEND, "secret": "hunter2"}, "the secret must be a reference"),
)


def test_a_wrong_setting_names_itself_and_the_remedy(database_url: str) -> None:
    for options, message in WRONG:
        with pytest.raises(InvalidRequestError) as refused:
            set_alert(database_url, "ml", **options)
        assert message in str(refused.value), options
        for secret in ("hunter2", "me:pw", "token=x", "T/B/C"):
            assert secret not in str(refused.value)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_alerts") == [(0,)]


def test_a_wrong_name_is_refused(database_url: str) -> None:
    for name in ("", "-x", "a b", "x" * 64, "a\n"):
        with pytest.raises(InvalidRequestError, match="invalid alert name"):
            set_alert(database_url, name, **SPEND)


def test_the_database_stores_no_target_with_a_secret(database_url: str) -> None:
    statement = (
        "INSERT INTO token_ledger_alerts (name, kind, threshold, targets)"
        " VALUES ('x', 'spend', 1, ARRAY[%s])"
    )
    for target in ("slack://T/B/C", "webhook+https://me:pw@host/", "webhook+https://host/?k=v"):
        with (
            psycopg.connect(database_url) as connection,
            pytest.raises(pg_errors.CheckViolation, match="targets_hold_no_secret"),
        ):
            connection.execute(statement.encode(), (target,))


def test_a_change_keeps_what_is_not_given(database_url: str) -> None:
    set_alert(database_url, "ml", **SPEND, where={"team": "ml"}, per="hour")
    changed = set_alert(database_url, "ml", above=Decimal("2.5"))
    assert (changed.threshold, changed.period) == (Decimal("2.5"), "hour")
    assert changed.filters == {"team": ("ml",)}
    other = set_alert(database_url, "ml", on="unusual", by="feature")
    assert (other.threshold, other.filters, other.targets) == (Decimal(1), {}, ("env:CHAT",))


def test_secrets_come_from_variables_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n")
    assert key_of(f"file:{file}") == b"0123456789abcdef"
    monkeypatch.setenv("KEY", SECRET)
    assert key_of("env:KEY") == SECRET.encode()
    for text, message in (("short", "too short"), ("whsec_%", "not base64"), (" ", "is not set")):
        monkeypatch.setenv("KEY", text)
        with pytest.raises(TargetError, match=message):
            key_of("env:KEY")
    with pytest.raises(TargetError, match=r"cannot be read \(FileNotFoundError\)"):
        resolve(f"file:{tmp_path}/none")
    assert targets.DEFAULT_SECRET == "env:TOKENLEDGER_WEBHOOK_SECRET"


@pytest.mark.parametrize(
    "name",
    [
        "<!channel> <@U024BE7LH> <https://evil.example|click>",
        "@everyone *bold* _italics_ ~gone~ `code` [click](https://evil.example)",
        "<img src=x onerror=alert(1)> &lt;b&gt;",
        "two\nlines\r\n# heading | cell \u202e \x1b[31m",
    ],
)
def test_a_name_is_no_markup_in_any_target(name: str) -> None:
    text = safe(name)
    assert text.isprintable()
    assert not set("<>&*`~|@#[]\\") & set(text)
    assert "://" not in text
    assert "_italics_" not in text


def test_a_plain_name_is_not_changed_and_a_long_one_is_cut() -> None:
    assert safe("gpt-4.1-mini user_1 Zoë 日本") == "gpt-4.1-mini user_1 Zoë 日本"
    assert safe("x" * 500) == "x" * 119 + "…"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_markup_reaches_apprise_as_text_and_the_webhook_unchanged(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "<!channel> *x*\n<b>"
    watched.target.on("/chat", said({}))
    monkeypatch.setenv("CHAT", watched.target.url.replace("http://", "json://") + "/chat")
    where_to = ["env:CHAT", watched.webhook]
    set_alert(watched.url, "ml", on="spend", above="100", by="user", to=where_to)
    watched.spend("101", user_id=name)
    assert watched.check().fired == 1
    assert watched.send().delivered == 2
    bodies = {request.path: request.json() for request in watched.target.requests}
    assert bodies["/hook"]["value"] == name
    shown = bodies["/chat"]["title"] + bodies["/chat"]["message"]
    assert "\u2039!channel\u203a" in shown
    assert not set("<>*") & set(shown)


def test_a_keeper_does_all_of_it_and_others_see_or_do_nothing(watched: Watched) -> None:
    with roles_of(watched.url) as roles:
        roles.login("keeper", roles.keeper)
        roles.login("reader", roles.reader)
        roles.login("writer", roles.writer)
        keeper, reader, writer = (
            roles.url(f"{roles.reader}_{name}") for name in ("keeper", "reader", "writer")
        )
        watched.spend("101", datetime.now(timezone.utc), user_id="ada")
        set_budget(keeper, "users", limit=100, each="user")
        set_alert(keeper, "b", on="budget", budget="users", to=[watched.webhook])
        set_alert(keeper, "s", on="spend", by="user", above="100", to=[watched.webhook])
        set_alert(keeper, "u", on="unusual", to=[watched.webhook])
        set_alert(keeper, "e", on="errors", above="5", to=[watched.webhook])
        for user in (reader, writer):
            assert run_alerts(user) == AlertRound()
        assert run_alerts(keeper).sentences == ["alerts: 2 fired, 2 delivered"]
        bind = "INSERT INTO token_ledger_reader_organizations VALUES (%s, 'acme', now(), false)"
        with psycopg.connect(watched.url) as connection:
            connection.execute(bind.encode(), (f"{roles.reader}_reader",))
        assert ask(reader, "SELECT count(*) FROM token_ledger_alert_incidents") == [(0,)]
        assert refusal(writer, "SELECT * FROM token_ledger_alerts")
        assert refusal(reader, "UPDATE token_ledger_alerts SET is_paused = true")


def test_an_erased_person_is_in_no_alert(watched: Watched) -> None:
    set_alert(watched.url, "ml", **{**SPEND, "by": "user"}, where={"user": "ada@example.com"})
    watched.spend("101", user_id="ada@example.com")
    watched.check()
    assert erase(watched.url, "ada@example.com").alerts == 2
    rows = ask(watched.url, "SELECT row_to_json(a)::text FROM token_ledger_alerts a")
    rows += ask(watched.url, "SELECT row_to_json(i)::text FROM token_ledger_alert_incidents i")
    assert len(rows) == 2
    assert "ada" not in str(rows)


def test_the_command_line_from_set_to_delete(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", watched.url)
    words = ["--on", "spend", "--where", "team=ml", "--above", "100", "--per", "month"]
    done = run("alert", "set", "ml", *words, "--to", watched.webhook, "--to", "env:NOT_HERE")
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        f"ml: spend above $100 per month, team=ml; to {watched.webhook}, env:NOT_HERE\n"
    )
    assert "the environment variable NOT_HERE is not set" in done.stderr
    tested = run("alert", "test", "ml")
    assert tested.exit_code == 1
    assert f"{watched.webhook}: delivered" in tested.stdout
    assert watched.titles() == ["Test of alert ml"]
    assert run("alert", "set", "ml", "--to", watched.webhook).exit_code == 0
    with psycopg.connect(watched.url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model, team, cost_usd, cost_status)"
            " VALUES ('p', 'm', 'ml', 101, 'priced')"
        )
    assert "alerts: 1 fired, 1 delivered" in run("keep").stdout
    assert watched.titles()[1:] == ["Spend (team=ml) is above $100 per month"]
    [row] = json.loads(run("alert", "history", "--format", "json").stdout)["rows"]
    assert (row["threshold"], row["observed"], row["delivered"]) == ("$100", "$101", 1)
    [row] = json.loads(run("alert", "list", "--format", "json").stdout)["rows"]
    assert (row["state"], row["open"], row["waiting"]) == ("fired", 1, 0)
    assert "1 incident open" in run("alert", "show", "ml").stdout
    assert "paused" in run("alert", "pause", "ml").stdout
    assert show_alert(watched.url, "ml").alert.is_paused
    assert "paused" not in run("alert", "resume", "ml").stdout
    assert run("alert", "delete", "ml").stdout == "ml: deleted\n"
    unknown = run("alert", "show", "ml")
    assert unknown.exit_code == 2
    assert "unknown alert 'ml'; no alert is set: run 'tokenledger alert set'" in unknown.stderr
