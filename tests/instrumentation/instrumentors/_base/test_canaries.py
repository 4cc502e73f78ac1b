"""No prompt, no answer and no key is on any span or in any log."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest

from support.fake_provider import Recorded, Refuse
from support.sdk_calls import ALL, MESSAGES, run

if TYPE_CHECKING:
    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape
    from support.spans import AppTracing

_ERROR = {"error": {"message": "canary-error-text", "type": "canary", "code": None, "param": None}}


def _everything(ledger: LedgerInMemory, app: AppTracing) -> str:
    spans = [*ledger.spans, *app.exporter.get_finished_spans()]
    return json.dumps([span.to_json() for span in spans])


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_no_prompt_completion_or_key_is_recorded(
    app: AppTracing,
    ledger: LedgerInMemory,
    clients: Clients,
    shape: Shape,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "tokenledger"):
        answer = str(run(clients, shape))
    recorded = _everything(ledger, app) + str([r for r in caplog.records if "token" in r.name])
    assert "canary" not in recorded
    for words in ("Thank you", "writing to us", "invoice"):
        assert words not in recorded
    assert answer


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_no_error_text_is_recorded(
    app: AppTracing,
    ledger: LedgerInMemory,
    clients: Clients,
    provider: DemoProvider,
    shape: Shape,
) -> None:
    # A stream may be sent twice, because it is asked for its usage.
    provider.script(*[Recorded(body=_ERROR, status=400)] * 2)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError), match="canary"):
        run(clients, shape)
    assert "canary" not in _everything(ledger, app)


def test_no_text_of_an_invalid_answer_is_recorded(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    nonsense = {
        "id": 5,
        "model": ["canary"],
        "choices": "canary",
        "content": "canary",
        "usage": None,
    }
    provider.script(Recorded(body=nonsense))
    clients.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert "canary" not in _everything(ledger, app)
    assert len(ledger.spans) == 1


def test_a_refusal_is_recorded_without_its_text(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(Refuse(401))
    with pytest.raises(openai.AuthenticationError) as raised:
        clients.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert str(raised.value) not in _everything(ledger, app)
