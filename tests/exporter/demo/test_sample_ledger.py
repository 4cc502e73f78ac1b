"""The sample ledger: a believable past, with the prices of the book, the same each time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice

import pytest

from support.ledger_rows import ask
from tokenledger_exporter.demo.sample_calls import RELEASE_DAYS_AGO, sample_calls
from tokenledger_exporter.demo.sample_company import ORGANIZATIONS
from tokenledger_exporter.demo.sample_ledger import fill_sample_ledger
from tokenledger_exporter.rollups.verify import verify

NOW = datetime.now(timezone.utc)
DAYS = 16


@pytest.fixture
def sample_url(database_url: str) -> str:
    """A ledger with the last 16 days of the sample."""
    fill_sample_ledger(database_url, now=NOW, days=DAYS)
    return database_url


def test_the_sample_has_what_a_real_past_has(sample_url: str) -> None:
    statuses = ask(sample_url, "SELECT DISTINCT cost_status FROM token_ledger_events")
    assert {status for (status,) in statuses} == {
        *("priced", "partial", "estimated", "unpriced", "unmeasured"),
    }
    [(models, teams, agents, tiers, errors, streamed)] = ask(
        sample_url,
        """
        SELECT count(DISTINCT provider), count(DISTINCT team), count(DISTINCT agent_id),
               count(DISTINCT service_tier), count(DISTINCT error_type),
               count(*) FILTER (WHERE time_to_first_token_ms > 0)
          FROM token_ledger_events
        """,
    )
    # "" counts too: of agents, of tiers and of errors.
    assert (models, teams, agents, tiers, errors) == (3, 4, 4, 3, 6)
    assert streamed > 500
    users = ask(sample_url, "SELECT DISTINCT user_id FROM token_ledger_events WHERE user_id <> ''")
    everyone = {user for users in ORGANIZATIONS.values() for user in users}
    assert {user for (user,) in users} <= everyone
    assert {"田中さくら", "ליلى حداד"[:0] or "ليلى حداد", "עומר לוי"} <= {user for (user,) in users}


def test_its_costs_are_those_of_the_price_book(sample_url: str) -> None:
    # text-embedding-3-small: $0.02 for a million input tokens.
    [(tokens, cost)] = ask(
        sample_url,
        "SELECT sum(input_tokens), sum(cost_usd) FROM token_ledger_events"
        " WHERE model = 'text-embedding-3-small' AND status = 'success'"
        " AND cost_status = 'priced'",
    )
    assert cost == Decimal("0.02") * tokens / 1_000_000
    # The model of the company itself has no price, and so no cost.
    own = ask(
        sample_url,
        "SELECT DISTINCT cost_usd FROM token_ledger_events"
        " WHERE model = 'acme-router-7b' AND status = 'success'",
    )
    assert own == [(None,)]
    # No row has a cost without the price that it comes from.
    query = "SELECT count(*) FROM token_ledger_events WHERE cost_usd > 0 AND price_id = ''"
    assert ask(sample_url, query) == [(0,)]


def test_every_row_is_settled_and_rolled_up(sample_url: str) -> None:
    [(unsettled,)] = ask(
        sample_url, "SELECT count(*) FROM token_ledger_events WHERE settled IS NOT TRUE"
    )
    assert unsettled == 0
    assert ask(sample_url, "SELECT count(*) FROM token_ledger_rejected") == [(0,)]
    assert ask(sample_url, "SELECT count(*) FROM token_ledger_rollup_dirty_slices") == [(0,)]
    assert verify(sample_url) == []


def test_a_release_made_the_prompts_of_chat_longer(sample_url: str) -> None:
    per_release = dict(
        ask(
            sample_url,
            "SELECT release, avg(input_tokens) FROM token_ledger_events"
            " WHERE feature = 'chat' GROUP BY release",
        )
    )
    assert per_release["4.2.0"] > Decimal("1.5") * per_release["4.1.3"]
    [(first,)] = ask(
        sample_url, "SELECT min(timestamp) FROM token_ledger_events WHERE release = '4.2.0'"
    )
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert (
        timedelta(0)
        <= first - (midnight - timedelta(days=RELEASE_DAYS_AGO - 1))
        < timedelta(days=1)
    )


def test_one_user_spent_most_yesterday(sample_url: str) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    top = ask(
        sample_url,
        "SELECT user_id, sum(cost_usd) / sum(sum(cost_usd)) OVER () FROM token_ledger_events"
        f" WHERE timestamp >= '{midnight - timedelta(days=1)}' AND timestamp < '{midnight}'"
        " GROUP BY user_id ORDER BY 2 DESC NULLS LAST LIMIT 1",
    )
    [(user, share)] = top
    assert (user, share > Decimal("0.5")) == ("mateo.rossi", True)


def test_the_same_moment_and_seed_give_the_same_calls(sample_url: str) -> None:
    [(before,)] = ask(sample_url, "SELECT count(*) FROM token_ledger_events")
    fill_sample_ledger(sample_url, now=NOW, days=DAYS)
    assert ask(sample_url, "SELECT count(*) FROM token_ledger_events") == [(before,)]
    assert list(islice(sample_calls(NOW, DAYS, 1), 9)) != list(
        islice(sample_calls(NOW, DAYS, 2), 9)
    )


def test_no_call_is_later_than_the_moment(sample_url: str) -> None:
    [(last,)] = ask(sample_url, "SELECT max(ended_at) FROM token_ledger_events")
    assert last <= NOW
