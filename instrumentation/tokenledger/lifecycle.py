"""`configure()` and what follows from it: the functions an app calls at its start and end."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger import failures
from tokenledger.runtime import RUNTIME, SHUTDOWN_TIMEOUT_SECONDS
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger.instrumentors.table_instrumentor import TableInstrumentor

_INSTRUMENTORS: Final = {
    "openai": ("tokenledger.instrumentors.openai", "OpenAIInstrumentor"),
    "anthropic": ("tokenledger.instrumentors.anthropic", "AnthropicInstrumentor"),
}
FLUSH_TIMEOUT_SECONDS: Final = 5.0
"""How long `flush()` waits unless told otherwise."""


def configure(  # noqa: PLR0913 - one keyword per option
    *,
    database_url: str | None = None,
    app_name: str | None = None,
    environment: str | None = None,
    batch_size: int | None = None,
    flush_interval_seconds: float | None = None,
    async_mode: bool | None = None,
    sample_rate: float | None = None,
    default_metadata: Mapping[str, object] | None = None,
    agent_id: str | None = None,
    tags: Mapping[str, object] | None = None,
    enabled: bool | None = None,
    debug: bool | None = None,
    spool_dir: str | None = None,
    stream_usage: bool | None = None,
    provider_hosts: Mapping[str, str] | None = None,
    buffer_size: int | None = None,
    max_retries: int | None = None,
    retry_backoff_base: float | None = None,
    retry_backoff_max: float | None = None,
    circuit_breaker_threshold: int | None = None,
    circuit_breaker_timeout: float | None = None,
    flush_batch_size: int | None = None,
) -> None:
    """Open the ledger. Call it again to change options.

    `None` leaves an option to `TOKENLEDGER_<OPTION>`, then to its default. A database that cannot
    be reached is no error here: calls wait in the spool. The app's tracer provider, sampler and id
    generator stay as they are.

    Args:
        database_url: Postgres connection string; else `DATABASE_URL`.
        app_name: the app's name in the ledger; else `OTEL_SERVICE_NAME`.
        environment: where the app runs, like `production`.
        batch_size: rows per COMMIT, at most.
        flush_interval_seconds: age at which a waiting row is written at the latest.
        async_mode: False makes a call return only after its row is committed or spooled.
        sample_rate: share of traces kept by the app's tracing, 0.0 to 1.0; never money.
        default_metadata: attribution of calls that say nothing else.
        agent_id: the agent every call belongs to unless it says otherwise.
        tags: more default metadata.
        enabled: False patches nothing and opens nothing.
        debug: print one line a call.
        spool_dir: folder of the crash-safe spool.
        stream_usage: False never asks an OpenAI chat stream for its usage; the request then goes
            out as the app wrote it, and the stream's tokens are not known.
        provider_hosts: host -> provider, like `{"llm.example.com": "groq"}`; the ending of a host
            names all hosts below it.
        buffer_size: calls kept in memory while the spool's disk takes none.
        max_retries: retries of a failed write after growing pauses; then the longest pause is all
            there is. Nothing is given up: calls wait in the spool.
        retry_backoff_base: seconds before the first retry; each further pause is twice as long.
        retry_backoff_max: the longest pause, in seconds.
        circuit_breaker_threshold: failures in a row after which the database is left in peace.
        circuit_breaker_timeout: for how many seconds.
        flush_batch_size: another name of `batch_size`.

    Raises:
        tokenledger_semconv.settings.SettingsError: an option has a value it cannot take.
    """
    RUNTIME.start(
        read_settings(
            {
                "database_url": database_url,
                "app_name": app_name,
                "environment": environment,
                "batch_size": batch_size,
                "flush_interval_seconds": flush_interval_seconds,
                "async_mode": async_mode,
                "sample_rate": sample_rate,
                "default_metadata": default_metadata,
                "agent_id": agent_id,
                "tags": tags,
                "enabled": enabled,
                "debug": debug,
                "spool_dir": spool_dir,
                "stream_usage": stream_usage,
                "provider_hosts": provider_hosts,
                "buffer_size": buffer_size,
                "max_retries": max_retries,
                "retry_backoff_base": retry_backoff_base,
                "retry_backoff_max": retry_backoff_max,
                "circuit_breaker_threshold": circuit_breaker_threshold,
                "circuit_breaker_timeout": circuit_breaker_timeout,
                "flush_batch_size": flush_batch_size,
            }
        )
    )


def init(**options: object) -> None:
    """`configure(**options)`, then record every supported SDK that is installed."""
    RUNTIME.start(read_settings(options))
    for sdk in _INSTRUMENTORS:
        if find_spec(sdk) is not None:
            _patch(sdk)


def patch_openai() -> None:
    """Record every OpenAI call of this process, also of clients made before."""
    _patch("openai")


def patch_anthropic() -> None:
    """Record every Anthropic call of this process, also of clients made before."""
    _patch("anthropic")


def unpatch_openai() -> None:
    """Stop recording OpenAI calls; methods the app kept pass through."""
    _unpatch("openai")


def unpatch_anthropic() -> None:
    """Stop recording Anthropic calls; methods the app kept pass through."""
    _unpatch("anthropic")


def flush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> int:
    """Write the rows that wait, for at most `timeout` seconds.

    Returns:
        How many rows were committed; 0 if nothing is configured.
    """
    ledger = RUNTIME.setup.ledger
    if ledger is not None:
        with failures.Guard("flushing the ledger"):
            return ledger.flush(timeout)
    return 0


async def aflush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> int:
    """`flush`, while the event loop goes on."""
    # Loaded here: an app without an event loop need not wait for it.
    asyncio: Any = importlib.import_module("asyncio")
    rows: int = await asyncio.get_running_loop().run_in_executor(None, flush, timeout)
    return rows


def health() -> dict[str, object]:
    """What is in force, and what went wrong so far.

    Returns:
        `configured`: whether a ledger is open. `enabled`: whether calls are recorded.
        `instrumented`: the SDKs recorded. `failures`: our own failures by place; the app's calls
        went on. `ledger`: what the ledger says of itself, empty without one.
    """
    setup = RUNTIME.setup
    ledger: dict[str, object] = {}
    if setup.ledger is not None:
        with failures.Guard("asking the ledger for its health"):
            ledger = setup.ledger.health()
    return {
        "configured": setup.ledger is not None,
        "enabled": setup.recording,
        "instrumented": [sdk for sdk in _INSTRUMENTORS if _is_recorded(sdk)],
        "failures": failures.counts(),
        "ledger": ledger,
    }


def shutdown(timeout: float = SHUTDOWN_TIMEOUT_SECONDS) -> None:
    """Write what waits, for at most `timeout` seconds, and close the ledger.

    SDKs stay patched; their calls then reach the app's own tracing only. A second call does
    nothing.
    """
    RUNTIME.shutdown(timeout)


def _patch(sdk: str) -> None:
    if not RUNTIME.setup.recording:
        return
    instrumentor = _instrumentor(sdk)
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.apply()
    else:
        instrumentor.instrument()


def _unpatch(sdk: str) -> None:
    instrumentor = _instrumentor(sdk)
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def _instrumentor(sdk: str) -> TableInstrumentor:
    module, name = _INSTRUMENTORS[sdk]
    return cast("TableInstrumentor", getattr(importlib.import_module(module), name)())


def _is_recorded(sdk: str) -> bool:
    """Whether an SDK is patched, without loading its instrumentor to ask."""
    module = sys.modules.get(_INSTRUMENTORS[sdk][0])
    return module is not None and _instrumentor(sdk).patches.are_in_force
