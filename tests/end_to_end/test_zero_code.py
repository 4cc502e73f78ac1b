"""Zero code: an app that never heard of TokenLedger under `opentelemetry-instrument`."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from end_to_end.money import mtok
from end_to_end.otlp import Receiver
from end_to_end.programs import LEDGER, launch, run, tokenledger, written
from tokenledger_exporter.demo.scripts import Use
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

# Also the tests without a database: starting programs takes longer than the quick suite has.
pytestmark = pytest.mark.integration

SHOP = '''
"""An ordinary app: both SDKs, sync and async, streamed and not."""
import asyncio

import anthropic
import openai

ASKED = [{"role": "user", "content": "Where is my parcel?"}]


def ask_openai():
    with openai.OpenAI() as client:
        print(client.chat.completions.create(model="gpt-4o", messages=ASKED, user="ada").id[:8])
        chunks = client.chat.completions.create(model="gpt-4o-mini", messages=ASKED, stream=True)
        print(len([chunk for chunk in chunks if not chunk.choices]), "chunks without a choice")
        client.embeddings.create(model="text-embedding-3-small", input="parcel")


async def ask_both():
    async with openai.AsyncOpenAI() as client:
        answer = await client.responses.create(model="gpt-5-mini", input="Where?")
        print(answer.output_text)
    async with anthropic.AsyncAnthropic() as client:
        about = {"model": "claude-sonnet-4-6", "max_tokens": 64, "messages": ASKED}
        async with client.messages.stream(**about) as stream:
            print(await stream.get_final_text())


def ask_anthropic():
    with anthropic.Anthropic() as client:
        message = client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=ASKED)
        print(message.content[0].text)


ask_openai()
asyncio.run(ask_both())
ask_anthropic()
'''
USED = [
    Use({"input": 1_200, "output": 80, "cache_read": 1_024}),
    Use({"input": 300, "output": 40}),
    Use({"input": 17, "output": 0}),
    Use({"input": 500, "output": 700, "reasoning": 640}),
    Use({"input": 2_048, "output": 90, "cache_write": 2_000, "cache_write_1h": 1_500}),
    Use({"input": 64, "output": 32}),
]
"""What the six calls of the shop use, in their order."""

# US dollars a million tokens on 2026-11-22.
BILL = [
    ("openai", "gpt-4o-2024-08-06", mtok("2.5", 176) + mtok("1.25", 1_024) + mtok("10", 80)),
    ("openai", "gpt-4o-mini-2024-07-18", mtok("0.15", 300) + mtok("0.60", 40)),
    ("openai", "text-embedding-3-small", mtok("0.02", 17)),
    ("openai", "gpt-5-mini-2025-08-07", mtok("0.25", 500) + mtok("2", 700)),
    (
        "anthropic",
        "claude-sonnet-4-6",
        mtok("3", 48) + mtok("3.75", 500) + mtok("6", 1_500) + mtok("15", 90),
    ),
    ("anthropic", "claude-haiku-4-5-20251001", mtok("1", 64) + mtok("5", 32)),
]
MONEY = "SELECT provider, model, cost_usd FROM token_ledger_events ORDER BY timestamp"
SPANS = """
    SELECT trace_id, span_id, operation, request_model, model, response_id, user_id,
           input_tokens, output_tokens, cached_tokens
    FROM token_ledger_events
"""
COUNT = "SELECT count(*) FROM token_ledger_events"

LABELS = re.compile("canary-(user|cart|feature)")
DOWN = "postgresql://canaryuser:canarypass@127.0.0.1:1/ledger"

ONE_CALL = """
import openai
print(openai.OpenAI().embeddings.create(model="text-embedding-3-small", input="parcel").model)
"""


@pytest.fixture
def shop(sdks: DemoProvider, tmp_path: Path) -> Path:
    """The app, and a provider that answers it with the usage above."""
    sdks.script(*USED)
    return written_app(tmp_path, SHOP)


def written_app(folder: Path, program: str) -> Path:
    path = folder / "app.py"
    path.write_text(program, encoding="utf-8")
    return path


def test_every_call_is_a_row_although_nothing_is_sampled(shop: Path, database_url: str) -> None:
    ended = launch(shop, TOKENLEDGER_DATABASE_URL=database_url, OTEL_TRACES_SAMPLER="always_off")
    assert (ended.code, ended.errors) == (0, "")
    assert written(database_url, MONEY) == BILL


def test_the_same_spans_arrive_at_an_otlp_receiver(
    shop: Path, database_url: str, tmp_path: Path
) -> None:
    receiver = Receiver(tmp_path)
    with receiver.running():
        ended = launch_with_otlp(shop, database_url, receiver)
    assert (ended, written(database_url, MONEY)) == ((0, ""), BILL)
    rows = {(row[0], row[1]): row[2:] for row in written(database_url, SPANS)}
    ours = {
        (span.trace_id, span.span_id): (
            span.attributes[attributes.OPERATION_NAME],
            span.attributes[attributes.REQUEST_MODEL],
            span.attributes[attributes.RESPONSE_MODEL],
            span.attributes.get(attributes.RESPONSE_ID, ""),
            span.attributes.get(attributes.USER_ID, ""),
            span.attributes[attributes.INPUT_TOKENS],
            span.attributes.get(attributes.OUTPUT_TOKENS),
            span.attributes.get(attributes.CACHE_READ_TOKENS),
        )
        for span in receiver.spans
        if span.scope.startswith(attributes.SCOPE_PREFIX)
    }
    assert len(ours) == 6
    assert ours == rows
    names = {span.name for span in receiver.spans if (span.trace_id, span.span_id) in rows}
    assert names == {f"{row[0]} {row[1]}" for row in rows.values()}


def test_what_is_not_sampled_is_in_the_ledger_and_not_at_the_receiver(
    shop: Path, database_url: str, tmp_path: Path
) -> None:
    receiver = Receiver(tmp_path)
    with receiver.running():
        ended = launch_with_otlp(shop, database_url, receiver, OTEL_TRACES_SAMPLER="always_off")
    assert (ended, written(database_url, MONEY)) == ((0, ""), BILL)
    assert receiver.spans == []


def launch_with_otlp(
    app: Path, database_url: str, receiver: Receiver, **variables: str
) -> tuple[int, str]:
    """Run an app with both exporters, named in the environment; its exit code and errors."""
    ended = launch(
        app,
        (),
        TOKENLEDGER_DATABASE_URL=database_url,
        OTEL_TRACES_EXPORTER="tokenledger,otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        **variables,
    )
    return ended.code, ended.errors


def test_the_launchers_flags_have_effect(
    sdks: DemoProvider, tmp_path: Path, database_url: str
) -> None:
    app = written_app(tmp_path, ONE_CALL.replace("print(", "for _ in range(12): print("))
    flags = ("--tokenledger_app_name", "shop", "--tokenledger_batch_size", "5")
    ended = launch(app, (*LEDGER, *flags, "--tokenledger_database_url", database_url))
    assert (ended.code, ended.errors) == (0, "")
    commits = "SELECT count(*), min(app_name), max(app_name) FROM token_ledger_events GROUP BY "
    found = written(database_url, commits + "xmin::text")
    assert sum(rows for rows, *_ in found) == len(sdks.requests) == 12
    assert all(rows <= 5 and names == ["shop", "shop"] for rows, *names in found)


def test_the_launcher_and_the_two_lines_make_one_row_a_call(shop: Path, database_url: str) -> None:
    two_lines = "tokenledger.configure()\ntokenledger.patch_openai()\ntokenledger.patch_anthropic()"
    shop.write_text(f"import tokenledger\n{two_lines}\n{SHOP}", encoding="utf-8")
    ended = launch(shop, TOKENLEDGER_DATABASE_URL=database_url)
    assert (ended.code, ended.errors) == (0, "")
    assert written(database_url, MONEY) == BILL


@pytest.mark.parametrize(
    ("ending", "code"),
    [("raise SystemExit(3)", 3), ("raise LookupError('parcel')", 1)],
    ids=["exit-code", "exception"],
)
def test_an_app_behaves_the_same_under_the_launcher(
    sdks: DemoProvider, tmp_path: Path, database_url: str, ending: str, code: int
) -> None:
    app = written_app(tmp_path, f"{ONE_CALL}\n{ending}\n")
    alone = run(app)
    launched = launch(app, TOKENLEDGER_DATABASE_URL=database_url)
    assert launched == alone
    assert (launched.code, launched.output) == (code, "text-embedding-3-small\n")
    assert len(sdks.requests) == 2
    assert written(database_url, COUNT) == [(1,)]


def test_the_line_of_the_readme_starts_no_other_exporter(tmp_path: Path, database_url: str) -> None:
    """One of OpenTelemetry's would look for a Collector, and make the app's end wait for it."""
    app = written_app(
        tmp_path, "import sys; print([name for name in sys.modules if '.exporter.' in name])"
    )
    ended = launch(app, TOKENLEDGER_DATABASE_URL=database_url)
    assert (ended.code, ended.output, ended.errors) == (0, "[]\n", "")


def test_a_killed_process_loses_no_call(
    sdks: DemoProvider, tmp_path: Path, database_url: str
) -> None:
    app = written_app(tmp_path, f"{ONE_CALL}\nimport os\nos.kill(os.getpid(), 9)\n")
    variables = {"TOKENLEDGER_DATABASE_URL": database_url}
    killed = launch(app, TOKENLEDGER_FLUSH_INTERVAL_SECONDS="600", **variables)
    assert (killed.code, len(sdks.requests)) == (-9, 1)
    drained = tokenledger("spool", "drain", **variables)
    assert (drained.code, drained.output.split(",")[0]) == (0, "1 call written")
    assert written(database_url, COUNT) == [(1,)]


@pytest.mark.usefixtures("sdks")
def test_during_an_outage_the_app_works_and_rows_wait(
    tmp_path: Path, postgres_server: str, database_url: str
) -> None:
    variables = {"TOKENLEDGER_DATABASE_URL": database_url}
    with taken_away(postgres_server, database_url):
        ended = launch(written_app(tmp_path, ONE_CALL), **variables)
        drained = tokenledger("spool", "drain", **variables)
    assert (ended.code, ended.output) == (0, "text-embedding-3-small\n")
    assert_one_clear_line(ended.errors, "the database does not exist", database_url)
    assert drained.code != 0
    drained = tokenledger("spool", "drain", **variables)
    assert (drained.code, drained.output.split(",")[0]) == (0, "1 call written")
    assert written(database_url, COUNT) == [(1,)]


@pytest.mark.usefixtures("sdks")
def test_draining_without_a_database_exits_with_3(tmp_path: Path) -> None:
    launch(written_app(tmp_path, ONE_CALL), TOKENLEDGER_DATABASE_URL=DOWN)
    drained = tokenledger("spool", "drain", TOKENLEDGER_DATABASE_URL=DOWN)
    assert_one_clear_line(drained.errors, "connection refused")
    assert drained.code == 3


@pytest.mark.usefixtures("sdks")
def test_a_missing_table_is_named_with_its_remedy(tmp_path: Path, empty_database_url: str) -> None:
    app = written_app(tmp_path, ONE_CALL)
    ended = launch(app, TOKENLEDGER_DATABASE_URL=empty_database_url)
    assert ended.code == 0
    assert_one_clear_line(ended.errors, "run 'tokenledger db migrate'", empty_database_url)
    migrate(empty_database_url)
    assert written(empty_database_url, COUNT) == [(1,)]


@pytest.mark.usefixtures("sdks")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        (DOWN, "connection refused"),
        ("postgresql://canaryuser:canarypass@[::1/ledger", "malformed"),
    ],
    ids=["down", "malformed"],
)
def test_an_unreachable_url_is_logged_once_without_secrets(
    tmp_path: Path, url: str, said: str
) -> None:
    ended = launch(written_app(tmp_path, ONE_CALL), TOKENLEDGER_DATABASE_URL=url)
    assert (ended.code, ended.output) == (0, "text-embedding-3-small\n")
    assert_one_clear_line(ended.errors, said)


def assert_one_clear_line(errors: str, said: str, database_url: str = DOWN) -> None:
    """What is wrong, once, and no user, password or key in it."""
    assert len(errors.splitlines()) == 1, errors
    assert said in errors
    secrets = ("canary", urlsplit(database_url).password or "none was given")
    assert not [secret for secret in secrets if secret in errors]


@contextlib.contextmanager
def taken_away(server: str, database_url: str) -> Generator[None]:
    """While the block runs, the database has another name."""
    name = urlsplit(database_url).path.removeprefix("/")
    names = (sql.Identifier(name), sql.Identifier(f"{name}_away"))
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(rename.format(*names))
        try:
            yield
        finally:
            connection.execute(rename.format(*reversed(names)))


def test_no_baggage_reaches_a_provider(shop: Path, sdks: DemoProvider, database_url: str) -> None:
    """The anthropic SDK would pass the app's baggage on; what the app said is still in the row."""
    labelled = """
from opentelemetry import baggage, context
canaries = baggage.set_baggage("user.id", "canary-user", baggage.set_baggage("cart", "canary-cart"))
context.attach(baggage.set_baggage("tokenledger.feature", "canary-feature", canaries))
"""
    shop.write_text(labelled + SHOP, encoding="utf-8")
    ended = launch(shop, TOKENLEDGER_DATABASE_URL=database_url)
    assert (ended.code, ended.errors) == (0, "")
    sent = [f"{name}: {value}" for call in sdks.requests for name, value in call.headers.items()]
    assert len(sdks.requests) == 6
    assert not [header for header in sent if "baggage" in header or LABELS.search(header)]
    who = written(database_url, "SELECT DISTINCT user_id, feature FROM token_ledger_events")
    assert who == [("canary-user", "canary-feature")]
    assert written(database_url, MONEY) == BILL


def test_the_shops_cost_equals_the_expected_sum() -> None:
    assert sum(cost for *_, cost in BILL) == Decimal("0.01670734")
