"""The blocks of the older documents' quick start and README, as programs with our own words.

A block that configures is run as a process of its own, as its reader would run it. Blocks of the
dashboard, the web frameworks and `track_llm` belong to later work and are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from end_to_end.money import mtok
from end_to_end.programs import run, written
from tokenledger_exporter.demo.scripts import Use

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

USED = {"input": 150, "output": 500}
# gpt-4o on 2026-11-22, US dollars a million tokens.
COST = mtok("2.50", 150) + mtok("10", 500)


class Reader:
    """Follows the documents: types a block into a file and runs it."""

    def __init__(self, provider: DemoProvider, folder: Path, database_url: str) -> None:
        self.provider = provider
        self.database_url = database_url
        self._folder = folder

    def tries(self, block: str, calls: int = 1, usage: dict[str, Any] | None = None) -> str:
        """What the block prints; every call of it is answered with the same usage."""
        self.provider.script(*[Use(usage or USED)] * calls)
        path = self._folder / "block.py"
        path.write_text(block.replace("DATABASE_URL", repr(self.database_url)), encoding="utf-8")
        ended = run(path)
        assert (ended.code, ended.errors) == (0, "")
        return ended.output

    def asks(self, question: str) -> list[tuple[Any, ...]]:
        """The ledger's answer to a SQL block."""
        return written(self.database_url, question)


@pytest.fixture
def reader(sdks: DemoProvider, tmp_path: Path, database_url: str) -> Reader:
    return Reader(sdks, tmp_path, database_url)


def test_two_lines_before_a_client(reader: Reader) -> None:
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_openai()

client = openai.OpenAI()
client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Where is my parcel?"}]
)
""")
    select = "SELECT provider, input_tokens, output_tokens, total_tokens, cost_usd, status"
    found = reader.asks(f"{select} FROM token_ledger_events")
    assert found == [("openai", 150, 500, 650, COST, "success")]


def test_the_module_level_client(reader: Reader) -> None:
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_openai()
openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hm?"}])
""")
    assert reader.asks("SELECT cost_usd FROM token_ledger_events") == [(COST,)]


def test_anthropic_in_the_same_two_lines(reader: Reader) -> None:
    """The document's model is retired: the SDK warns of it, and its price still holds."""
    reader.tries("""
import warnings
import tokenledger
import anthropic

warnings.simplefilter("ignore", DeprecationWarning)
tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_anthropic()

client = anthropic.Anthropic()
client.messages.create(
    model="claude-3-5-sonnet-20241022",
    max_tokens=64,
    messages=[{"role": "user", "content": "Where is my parcel?"}]
)
""")
    found = reader.asks("SELECT provider, model, cost_usd FROM token_ledger_events")
    cost = mtok("3", 150) + mtok("15", 500)
    assert found == [("anthropic", "claude-3-5-sonnet-20241022", cost)]


def test_attribution_as_a_block_and_as_nested_decorator(reader: Reader) -> None:
    reader.tries(
        """
import tokenledger
import openai
from tokenledger import attribution

tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_openai()
client = openai.OpenAI()

with attribution(user_id="user_123", feature="summarize", team="ml"):
    client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Sum it up."}]
    )

@attribution(feature="chat", cost_center="CC-001")
def handle_chat(user_id: str, message: str):
    with attribution(user_id=user_id):
        return client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": message}]
        )

handle_chat("user_456", "Hm?")
""",
        calls=2,
    )
    select = "SELECT user_id, feature, team, cost_center, cost_usd"
    assert reader.asks(f"{select} FROM token_ledger_events ORDER BY timestamp") == [
        ("user_123", "summarize", "ml", "", COST),
        ("user_456", "chat", "", "CC-001", COST),
    ]


def test_openais_own_user_field(reader: Reader) -> None:
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_openai()
openai.OpenAI().chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Where is my parcel?"}],
    user="user_123"
)
""")
    found = reader.asks("SELECT user_id, cost_usd FROM token_ledger_events")
    assert found == [("user_123", COST)]


def test_default_metadata_fills_columns_and_stays_metadata(reader: Reader) -> None:
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(
    database_url=DATABASE_URL,
    app_name="chat-service",
    environment="production",
    default_metadata={
        "organization_id": "org_456",
        "feature": "customer-support",
        "team": "platform"
    }
)
tokenledger.patch_openai()
openai.OpenAI().chat.completions.create(
    model="gpt-4o", messages=[{"role": "user", "content": "Where is my parcel?"}]
)
""")
    select = "SELECT app_name, environment, organization_id, feature, team, metadata, cost_usd"
    given = {"organization_id": "org_456", "feature": "customer-support", "team": "platform"}
    assert reader.asks(f"{select} FROM token_ledger_events") == [
        ("chat-service", "production", *given.values(), given, COST)
    ]


def test_tracking_by_hand_in_both_forms(reader: Reader) -> None:
    reader.tries("""
import tokenledger
from tokenledger import track_cost

tokenledger.configure(database_url=DATABASE_URL)
track_cost(
    input_tokens=150,
    output_tokens=500,
    model="gpt-4o",
    user_id="user_123",
)
track_cost(
    input_tokens=150,
    output_tokens=500,
    model="gpt-4o",
    user_id="user_123",
    metadata={
        "session_id": "sess_abc",
        "feature": "chat",
        "conversation_id": "conv_xyz"
    }
)
""")
    select = "SELECT provider, user_id, session_id, feature, metadata, cost_usd"
    metadata = {"session_id": "sess_abc", "feature": "chat", "conversation_id": "conv_xyz"}
    assert reader.asks(f"{select} FROM token_ledger_events ORDER BY feature") == [
        ("openai", "user_123", "", "", {}, COST),
        ("openai", "user_123", "sess_abc", "chat", metadata, COST),
    ]


def test_every_option_the_readme_names(reader: Reader) -> None:
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(
    database_url=DATABASE_URL,
    app_name="my-app",
    environment="production",
    batch_size=100,
    flush_interval_seconds=5,
    async_mode=True,
    sample_rate=1.0,
)
tokenledger.patch_openai()
openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hm?"}])
""")
    found = reader.asks("SELECT app_name, environment, cost_usd FROM token_ledger_events")
    assert found == [("my-app", "production", COST)]


def test_the_environment_instead_of_arguments(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", reader.database_url)
    monkeypatch.setenv("TOKENLEDGER_APP_NAME", "my-app")
    monkeypatch.setenv("TOKENLEDGER_ENVIRONMENT", "production")
    reader.tries("""
import tokenledger
import openai

tokenledger.configure()
tokenledger.patch_openai()
openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hm?"}])
""")
    found = reader.asks("SELECT app_name, environment, cost_usd FROM token_ledger_events")
    assert found == [("my-app", "production", COST)]


OLDER_TABLE = """
CREATE TABLE IF NOT EXISTS token_ledger_events (
    event_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    timestamp TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    provider VARCHAR(50) NOT NULL,
    model VARCHAR(100) NOT NULL,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd DECIMAL(12, 8),
    user_id VARCHAR(255),
    organization_id VARCHAR(255),
    metadata JSONB
);
CREATE INDEX idx_token_ledger_timestamp ON token_ledger_events (timestamp DESC);
CREATE INDEX idx_token_ledger_user ON token_ledger_events (user_id, timestamp DESC);
CREATE INDEX idx_token_ledger_org ON token_ledger_events (organization_id, timestamp DESC);
"""


def test_the_older_create_table_does_no_harm_after_our_migration(reader: Reader) -> None:
    with psycopg.connect(reader.database_url) as connection:
        connection.execute(OLDER_TABLE)
    reader.tries("""
import tokenledger
import openai

tokenledger.configure(database_url=DATABASE_URL)
tokenledger.patch_openai()
openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hm?"}])
""")
    found = reader.asks("SELECT cost_usd, total_tokens FROM token_ledger_events")
    assert found == [(COST, 650)]
