"""What an app calls at its start and its end: `configure`, `patch_...`, `flush`, `shutdown`."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, cast

from tokenledger import _guard
from tokenledger._state import RUNTIME, SHUTDOWN_TIMEOUT_SECONDS
from tokenledger_semconv.settings import IGNORED_OPTIONS, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger.instrumentors._base.instrumentor import TableInstrumentor

_INSTRUMENTORS: Final = {
    "openai": ("tokenledger.instrumentors.openai", "OpenAIInstrumentor"),
    "anthropic": ("tokenledger.instrumentors.anthropic", "AnthropicInstrumentor"),
}
FLUSH_TIMEOUT_SECONDS: Final = 5.0
"""How long `flush()` waits by default."""


def configure(  # noqa: PLR0913 - one keyword per option
    database_url: str | None = None,
    *,
    embedded: bool | None = None,
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
    table_name: str | None = None,
    schema_name: str | None = None,
    max_queue_size: int | None = None,
    pool_min_size: int | None = None,
    pool_max_size: int | None = None,
) -> None:
    """Open the ledger. Call it again to change options.

    An option that is `None` comes from `TOKENLEDGER_<OPTION>`, or else is the default. An
    unreachable database is not an error here: calls wait in the spool. The app's tracer provider,
    sampler and id generator stay as they are.

    Args:
        database_url: Postgres connection string; else `DATABASE_URL`.
        embedded: True starts an embedded Postgres if there is no `database_url`; for scripts and
            notebooks, never for a server. It needs the extra `embedded` and ends with the process.
        app_name: the app's name in the ledger; else `OTEL_SERVICE_NAME`.
        environment: where the app runs, like `production`.
        batch_size: the most rows per COMMIT.
        flush_interval_seconds: the longest time a row waits before it is written.
        async_mode: False makes a call return only after its row is committed or spooled.
        sample_rate: share of traces that the app's tracing records, 0.0 to 1.0; costs are always
            complete.
        default_metadata: attribution of calls that have none of their own.
        agent_id: the default agent of every call.
        tags: more default metadata.
        enabled: False patches no SDK and opens no ledger.
        debug: print one line per call.
        spool_dir: directory of the crash-safe spool.
        stream_usage: False never asks an OpenAI chat stream for its usage. The request is then
            sent as the app wrote it, and the stream's tokens are unknown.
        provider_hosts: host, host:port or URL -> provider, like `{"llm.example.com": "groq"}`; a
            host also stands for all hosts below it, and one with a port for that port alone.
        buffer_size: the most calls to hold in memory while the spool's disk accepts none.
        max_retries: retries of a failed write with growing pauses; after that, retries continue
            with the longest pause. No call is dropped: calls wait in the spool.
        retry_backoff_base: seconds before the first retry; each further pause is twice as long.
        retry_backoff_max: the longest pause, in seconds.
        circuit_breaker_threshold: consecutive failures after which writing stops for a while.
        circuit_breaker_timeout: how long it stops, in seconds.
        flush_batch_size: another name for `batch_size`.
        table_name: no effect, like the four below: options of TokenLedger 0.1, which are accepted
            with one log line each.
        schema_name: no effect.
        max_queue_size: no effect.
        pool_min_size: no effect.
        pool_max_size: no effect.

    Raises:
        tokenledger_semconv.settings.SettingsError: an option has an invalid value.
    """
    _note_ignored(
        {
            "table_name": table_name,
            "schema_name": schema_name,
            "max_queue_size": max_queue_size,
            "pool_min_size": pool_min_size,
            "pool_max_size": pool_max_size,
        }
    )
    RUNTIME.start(
        read_settings(
            {
                "database_url": database_url,
                "embedded": embedded,
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
    """Call `configure(**options)`, then patch every supported SDK that is installed."""
    _note_ignored(options)
    RUNTIME.start(read_settings(options))
    for sdk in _INSTRUMENTORS:
        if find_spec(sdk) is not None:
            _patch(sdk)


def patch_openai() -> None:
    """Record every OpenAI call of this process, including those of existing clients."""
    _patch("openai")


def patch_anthropic() -> None:
    """Record every Anthropic call of this process, including those of existing clients."""
    _patch("anthropic")


def unpatch_openai() -> None:
    """Stop recording OpenAI calls, including those of methods that the app stored."""
    _unpatch("openai")


def unpatch_anthropic() -> None:
    """Stop recording Anthropic calls, including those of methods that the app stored."""
    _unpatch("anthropic")


def flush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> int:
    """Write waiting rows for at most `timeout` seconds.

    Returns:
        The number of rows committed; 0 if no ledger is open.
    """
    ledger = RUNTIME.setup.ledger
    if ledger is not None:
        with _guard.Guard("flushing the ledger"):
            return ledger.flush(timeout)
    return 0


async def aflush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> int:
    """`flush` without blocking the event loop."""
    # Loaded here: an app without an event loop does not need it.
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, flush, timeout)


def health() -> dict[str, object]:
    """The current state, and the failures so far.

    Returns:
        `configured`: whether a ledger is open. `enabled`: whether calls are recorded.
        `instrumented`: the recorded SDKs. `failures`: our own failures by place; they did not
        affect the app's calls. `ledger`: the ledger's own health; empty without a ledger.
    """
    setup = RUNTIME.setup
    ledger: dict[str, object] = {}
    if setup.ledger is not None:
        with _guard.Guard("asking the ledger for its health"):
            ledger = setup.ledger.health()
    return {
        "configured": setup.ledger is not None,
        "enabled": setup.recording,
        "instrumented": [sdk for sdk in _INSTRUMENTORS if _is_patched(sdk)],
        "failures": _guard.counts(),
        "ledger": ledger,
    }


def shutdown(timeout: float = SHUTDOWN_TIMEOUT_SECONDS) -> None:
    """Write waiting rows for at most `timeout` seconds, and close the ledger.

    SDKs stay patched; their calls then reach only the app's own tracing. A second call does
    nothing.
    """
    RUNTIME.shutdown(timeout)


def _note_ignored(options: Mapping[str, object]) -> None:
    for option, reason in IGNORED_OPTIONS.items():
        if options.get(option) is not None:
            _guard.warn_once(f"configure({option}=) has no effect: {reason}")


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


def _is_patched(sdk: str) -> bool:
    """Whether an SDK is patched; does not load its instrumentor."""
    module = sys.modules.get(_INSTRUMENTORS[sdk][0])
    return module is not None and _instrumentor(sdk).patches.are_in_force
