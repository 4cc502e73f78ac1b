"""Nine calls of two SDKs under the instrumentations named on the command line, and their rows."""

from __future__ import annotations

import importlib
import sys
import tempfile
from typing import Any

import anthropic
import openai
import psycopg
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import tokenledger
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

_MODULES = {
    "genai": "opentelemetry.instrumentation.genai",
    "openinference": "openinference.instrumentation",
    "openllmetry": "opentelemetry.instrumentation",
}
_SAID: Any = [{"role": "user", "content": "hello there"}]
_CLAUDE = "claude-sonnet-4-5"


def main(emitters: list[str]) -> int:
    """Make the calls and count their rows; 1 if there are not as many."""
    with (
        temporary_postgres({"fsync": "off"}) as url,
        DemoProvider() as provider,
        tempfile.TemporaryDirectory() as spool,
    ):
        migrate(url)
        tracing = TracerProvider()
        trace.set_tracer_provider(tracing)
        tokenledger.configure(database_url=url, spool_dir=spool)
        for emitter in emitters:
            _instrument(emitter, tracing)
        calls = _call_openai(provider.openai_base_url) + _call_anthropic(provider.url)
        tokenledger.flush(30)
        tokenledger.shutdown()
        with psycopg.connect(url) as connection:
            rows, cost = _one(connection, "SELECT count(*), sum(cost_usd) FROM token_ledger_events")
            (duplicates,) = _one(connection, "SELECT count(*) FROM token_ledger_duplicates")
            (waiting,) = _one(
                connection, "SELECT count(*) FROM token_ledger_events WHERE NOT settled"
            )
    print(f"{' + '.join(emitters):45} {calls} calls, {rows} rows, {duplicates} duplicates, ${cost}")  # noqa: T201
    return int(rows != calls or waiting > 0)


def _instrument(emitter: str, tracing: TracerProvider) -> None:
    if emitter == "ours":
        tokenledger.patch_openai()
        tokenledger.patch_anthropic()
        return
    for sdk, name in (("openai", "OpenAIInstrumentor"), ("anthropic", "AnthropicInstrumentor")):
        module = importlib.import_module(f"{_MODULES[emitter]}.{sdk}")
        getattr(module, name)().instrument(tracer_provider=tracing)


def _call_openai(base_url: str) -> int:
    with openai.OpenAI(base_url=base_url, api_key="k") as client:
        chat: Any = client.chat.completions.create
        chat(model="gpt-4o", messages=_SAID)
        list(chat(model="gpt-4o", messages=_SAID, stream=True))
        usage = {"include_usage": True}
        list(chat(model="gpt-4o", messages=_SAID, stream=True, stream_options=usage))
        client.responses.create(model="gpt-4o", input="hello there")
        list(client.responses.create(model="gpt-4o", input="hello there", stream=True))
        client.embeddings.create(model="text-embedding-3-small", input="hello")
    return 6


def _call_anthropic(base_url: str) -> int:
    with anthropic.Anthropic(base_url=base_url, api_key="k") as client:
        create: Any = client.messages.create
        create(model=_CLAUDE, max_tokens=50, messages=_SAID)
        list(create(model=_CLAUDE, max_tokens=50, messages=_SAID, stream=True))
        with client.messages.stream(model=_CLAUDE, max_tokens=50, messages=_SAID) as stream:
            list(stream.text_stream)
    return 3


def _one(connection: psycopg.Connection[Any], question: str) -> tuple[Any, ...]:
    return connection.execute(question.encode()).fetchone() or ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
