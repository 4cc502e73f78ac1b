"""A sender that is bound to an organization spends, sees and settles its own alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.otlp_service import serving
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.budgets.budgets import budget_status, set_budget

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from support.otlp_service import Running

ACME, GLOBEX, ANY = new_token(), new_token(), new_token()


@pytest.fixture(scope="module")
def service(ledger_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    file: Path = tmp_path_factory.mktemp("tokens") / "tokens"
    lines = [token_line("acme", ACME), token_line("globex", GLOBEX), token_line("*", ANY)]
    file.write_text("\n".join(lines))
    set_budget(ledger_url, "each-tenant", limit="1", each="organization")
    set_budget(ledger_url, "acme-users", limit="5", where={"organization": "acme"}, each="user")
    set_budget(ledger_url, "house", limit="2", where={"environment": "production"})
    set_budget(ledger_url, "both", limit="9", where={"organization": ["acme", "globex"]})
    with serving(ledger_url, "--tokens-file", str(file)) as running:
        yield running


def send(service: Running, token: str, path: str, fields: object = None) -> tuple[int, Any]:
    sent = None if fields is None else json.dumps(fields).encode()
    content = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    answer = service.ask(f"/v1/budgets{path}", sent, content)
    return answer.status, json.loads(answer.body)


def test_the_token_says_the_organization_whatever_the_body_says(
    service: Running, ledger_url: str
) -> None:
    wanted = {"dimensions": {"organization": "globex", "user": "ada"}, "estimate_usd": "0.75"}
    status, reserved = send(service, ACME, "/reserve", wanted)
    # It reserved in three budgets; the one of two organizations is not acme's alone.
    assert status == 200
    assert [each["budget"] for each in reserved["budgets"]] == ["each-tenant", "acme-users"]
    accounts = {(each.budget, each.value) for each in budget_status(ledger_url)}
    assert ("each-tenant", "acme") in accounts
    assert ("each-tenant", "globex") not in accounts
    status, refused = send(service, ACME, "/reserve", wanted)
    assert (status, refused["budgets"][0]["value"]) == (402, "acme")
    for name in ("/settle", "/release"):
        other = {"reservation_id": reserved["reservation_id"]}
        status, problem = send(service, GLOBEX, name, other)
        assert (status, problem["message"].partition(":")[0]) == (404, "unknown reservation")
    assert send(service, ANY, "/settle", {**other, "cost_usd": "0.5"})[0] == 200
    assert send(service, ACME, "/release", other)[1]["released_usd"] == "0.5"


def test_a_sender_sees_only_budgets_of_its_organization_alone(service: Running) -> None:
    for token, organization in ((ACME, "acme"), (GLOBEX, "globex")):
        wanted = {"dimensions": {"user": "ada"}, "estimate_usd": "0.01"}
        assert send(service, token, "/reserve", wanted)[0] == 200
        _, listed = send(service, token, "")
        values = {(each["budget"], each["value"]) for each in listed["budgets"]}
        assert ("each-tenant", organization) in values
        assert {budget for budget, _ in values} <= {"each-tenant", f"{organization}-users"}
        assert "both" not in json.dumps(listed)
    assert {each["budget"] for each in send(service, ANY, "")[1]["budgets"]} >= {"house", "both"}
    assert send(service, GLOBEX, "?budget=acme-users")[1]["budgets"] == []


def test_a_refusal_by_a_budget_of_others_shows_no_name_and_no_amount(service: Running) -> None:
    wanted = {"dimensions": {"environment": "production"}, "estimate_usd": "1.99"}
    assert send(service, ANY, "/reserve", wanted)[0] == 200
    wanted["estimate_usd"] = "0.02"
    status, refused = send(service, GLOBEX, "/reserve", wanted)
    assert (status, "house" in json.dumps(refused)) == (402, False)
    [budget] = refused["budgets"]
    assert {name for name, value in budget.items() if value is not None} == {
        "reason",
        "needed_usd",
        "remedy",
    }
    assert send(service, ANY, "/reserve", wanted)[1]["budgets"][0]["budget"] == "house"


@pytest.mark.parametrize("path", ["", "/reserve", "/settle", "/release"])
def test_without_a_token_it_is_401(service: Running, path: str) -> None:
    assert send(service, "wrong", path, {"reservation_id": "x"} if path else None)[0] == 401


def test_only_the_document_needs_no_token(service: Running) -> None:
    assert service.ask("/v1/budgets/openapi.json").status == 200
