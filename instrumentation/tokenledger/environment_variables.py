"""The variables behind `opentelemetry-instrument --tokenledger_<option>`.

The launcher makes a flag from every `OTEL_*` attribute of the modules in the entry-point group
`opentelemetry_environment_variables`, and sets the variable of that name. `TOKENLEDGER_<OPTION>`
has the same meaning and takes precedence. `tokenledger_semconv.settings` explains each option.
"""

from typing import Final

OTEL_PYTHON_TOKENLEDGER_DATABASE_URL: Final = "OTEL_PYTHON_TOKENLEDGER_DATABASE_URL"
"""Postgres connection string of the ledger. Text."""

OTEL_PYTHON_TOKENLEDGER_EMBEDDED: Final = "OTEL_PYTHON_TOKENLEDGER_EMBEDDED"
"""Starts an embedded Postgres if there is no database URL; for scripts and notebooks. Flag."""

OTEL_PYTHON_TOKENLEDGER_APP_NAME: Final = "OTEL_PYTHON_TOKENLEDGER_APP_NAME"
"""The app's name in the ledger. Text; else `service.name`."""

OTEL_PYTHON_TOKENLEDGER_ENVIRONMENT: Final = "OTEL_PYTHON_TOKENLEDGER_ENVIRONMENT"
"""Deployment environment. Text; default: `deployment.environment.name`."""

OTEL_PYTHON_TOKENLEDGER_BATCH_SIZE: Final = "OTEL_PYTHON_TOKENLEDGER_BATCH_SIZE"
"""The most rows per COMMIT. Whole number, 1 to 100,000."""

OTEL_PYTHON_TOKENLEDGER_FLUSH_INTERVAL_SECONDS: Final = (
    "OTEL_PYTHON_TOKENLEDGER_FLUSH_INTERVAL_SECONDS"
)
"""The longest time a row waits before it is written. Seconds."""

OTEL_PYTHON_TOKENLEDGER_ASYNC_MODE: Final = "OTEL_PYTHON_TOKENLEDGER_ASYNC_MODE"
"""False makes a call return only after its row is safe. Flag."""

OTEL_PYTHON_TOKENLEDGER_SAMPLE_RATE: Final = "OTEL_PYTHON_TOKENLEDGER_SAMPLE_RATE"
"""Share of traces that the app's tracing records; costs are always complete. 0.0 to 1.0."""

OTEL_PYTHON_TOKENLEDGER_DEFAULT_METADATA: Final = "OTEL_PYTHON_TOKENLEDGER_DEFAULT_METADATA"
"""Attribution of calls that have none of their own. `key=value,...` or JSON."""

OTEL_PYTHON_TOKENLEDGER_AGENT_ID: Final = "OTEL_PYTHON_TOKENLEDGER_AGENT_ID"
"""The default agent of every call. Text."""

OTEL_PYTHON_TOKENLEDGER_TAGS: Final = "OTEL_PYTHON_TOKENLEDGER_TAGS"
"""More default metadata. `key=value,...` or JSON."""

OTEL_PYTHON_TOKENLEDGER_ENABLED: Final = "OTEL_PYTHON_TOKENLEDGER_ENABLED"
"""False patches no SDK and opens no ledger. Flag."""

OTEL_PYTHON_TOKENLEDGER_DEBUG: Final = "OTEL_PYTHON_TOKENLEDGER_DEBUG"
"""Print one line per call. Flag."""

OTEL_PYTHON_TOKENLEDGER_SPOOL_DIR: Final = "OTEL_PYTHON_TOKENLEDGER_SPOOL_DIR"
"""Directory of the crash-safe spool. Path."""

OTEL_PYTHON_TOKENLEDGER_STREAM_USAGE: Final = "OTEL_PYTHON_TOKENLEDGER_STREAM_USAGE"
"""False never asks an OpenAI chat stream for its usage. Flag."""

OTEL_PYTHON_TOKENLEDGER_PROVIDER_HOSTS: Final = "OTEL_PYTHON_TOKENLEDGER_PROVIDER_HOSTS"
"""Maps hosts to providers. `host=provider,...` or JSON."""

OTEL_PYTHON_TOKENLEDGER_BUFFER_SIZE: Final = "OTEL_PYTHON_TOKENLEDGER_BUFFER_SIZE"
"""The most calls to hold in memory while the spool's disk accepts none. Whole number."""

OTEL_PYTHON_TOKENLEDGER_MAX_RETRIES: Final = "OTEL_PYTHON_TOKENLEDGER_MAX_RETRIES"
"""Retries of a failed write with growing pauses. Whole number."""

OTEL_PYTHON_TOKENLEDGER_RETRY_BACKOFF_BASE: Final = "OTEL_PYTHON_TOKENLEDGER_RETRY_BACKOFF_BASE"
"""Pause before the first retry. Seconds."""

OTEL_PYTHON_TOKENLEDGER_RETRY_BACKOFF_MAX: Final = "OTEL_PYTHON_TOKENLEDGER_RETRY_BACKOFF_MAX"
"""The longest pause. Seconds."""

OTEL_PYTHON_TOKENLEDGER_CIRCUIT_BREAKER_THRESHOLD: Final = (
    "OTEL_PYTHON_TOKENLEDGER_CIRCUIT_BREAKER_THRESHOLD"
)
"""Consecutive failures after which writing stops for a while. Whole number."""

OTEL_PYTHON_TOKENLEDGER_CIRCUIT_BREAKER_TIMEOUT: Final = (
    "OTEL_PYTHON_TOKENLEDGER_CIRCUIT_BREAKER_TIMEOUT"
)
"""How long the circuit stays open. Seconds."""

OTEL_PYTHON_TOKENLEDGER_FLUSH_BATCH_SIZE: Final = "OTEL_PYTHON_TOKENLEDGER_FLUSH_BATCH_SIZE"
"""Another name for the batch size. Whole number."""
