"""Every option of `configure()`, with its default, its environment variable and its meaning.

Precedence: argument > `TOKENLEDGER_<OPTION>` > `OTEL_PYTHON_TOKENLEDGER_<OPTION>` (set by
`opentelemetry-instrument --tokenledger_<option>`) > the named fallbacks > default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_semconv.provider_hosts import host_key

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT_PREFIX: Final = "TOKENLEDGER_"
"""`TOKENLEDGER_BATCH_SIZE` sets `batch_size`, and so on for every option."""

LAUNCHER_PREFIX: Final = "OTEL_PYTHON_TOKENLEDGER_"
"""`opentelemetry-instrument` has flags for `OTEL_*` names only, so options have a second name."""

MAX_BATCH_SIZE: Final = 100_000
"""The largest `batch_size`; a batch is in memory while it is written."""

_FALL_BACKS: Final[Mapping[str, str]] = {
    "database_url": "DATABASE_URL",
    "app_name": "OTEL_SERVICE_NAME",
}


class SettingsError(ValueError):
    """An option has an invalid value; the message names the option and its valid values."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `configure()`, from its arguments and the environment.

    Args:
        database_url: Postgres connection string; "" if there is none.
        embedded: without a database URL, start an embedded Postgres; for scripts and notebooks.
        app_name: fills the column `app_name`; "" uses the resource's `service.name`.
        environment: fills the column `environment`; "" uses `deployment.environment.name`.
        batch_size: maximum rows per COMMIT; 1 to 100,000.
        flush_interval_seconds: the longest time a row waits before it is written; above 0.
        async_mode: False makes a call return only after its row is committed (or spooled, if the
            database is unreachable).
        sample_rate: share of traces that the app's tracing records, 0.0 to 1.0; costs are always
            complete.
        default_metadata: attribution of calls that have none of their own.
        agent_id: the default agent of every call.
        tags: more default metadata, under another tracker's name; overrides `default_metadata`.
        enabled: False patches no SDK and opens no ledger.
        debug: print one line per call to standard error.
        spool_dir: directory of the crash-safe spool; "" is the user's state directory.
        stream_usage: False never asks an OpenAI chat stream for its usage.
        provider_hosts: host, host:port or URL -> provider, for hosts that are unknown or should
            have another name.
        buffer_size: the most calls in memory while the spool's disk accepts none; 1 or more.
        max_retries: retries with growing pauses; later retries use the longest pause.
        retry_backoff_base: seconds before the first retry; each further pause is twice as long.
        retry_backoff_max: the longest pause while the circuit is closed, in seconds.
        circuit_breaker_threshold: consecutive failures that open the circuit; 1 or more.
        circuit_breaker_timeout: how long the circuit stays open, in seconds.
    """

    database_url: str = field(default="", repr=False)
    embedded: bool = False
    app_name: str = ""
    environment: str = ""
    batch_size: int = 100
    flush_interval_seconds: float = 5.0
    async_mode: bool = True
    sample_rate: float = 1.0
    default_metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    agent_id: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    enabled: bool = True
    debug: bool = False
    spool_dir: str = ""
    stream_usage: bool = True
    provider_hosts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    buffer_size: int = 10_000
    max_retries: int = 3
    retry_backoff_base: float = 1.0
    retry_backoff_max: float = 30.0
    circuit_breaker_threshold: int = 5
    circuit_breaker_timeout: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise SettingsError(
                f"batch_size must be 1 to {MAX_BATCH_SIZE:,}, not {self.batch_size}"
            )
        if not 0 <= self.sample_rate <= 1:
            raise SettingsError(f"sample_rate must be 0.0 to 1.0, not {self.sample_rate}")
        for option, minimum in _MINIMUMS.items():
            if (value := getattr(self, option)) < minimum:
                raise SettingsError(f"{option} must be {minimum} or more, not {value}")
        for option in _SECONDS:
            if not (value := getattr(self, option)) > 0:
                raise SettingsError(f"{option} must be greater than 0, not {value}")


ALIASES: Final[Mapping[str, str]] = {"flush_batch_size": "batch_size"}
"""Another tracker's names for an option; the option's own name wins."""

IGNORED_OPTIONS: Final[Mapping[str, str]] = {
    "table_name": "the table is token_ledger_events",
    "schema_name": "the schema is that of the connection, see options=-csearch_path in the URL",
    "max_queue_size": "calls wait in the spool on disk; see buffer_size",
    "pool_min_size": "a process writes over one connection",
    "pool_max_size": "a process writes over one connection",
}
"""Options of TokenLedger 0.1 that are accepted and have no effect -> the reason."""

OPTIONS: Final = tuple(option.name for option in fields(Settings))
"""The option names, in the order of `Settings`."""


def environment_variable(option: str) -> str:
    """The environment variable that sets an option."""
    return ENVIRONMENT_PREFIX + option.upper()


def launcher_variable(option: str) -> str:
    """The variable behind `opentelemetry-instrument --tokenledger_<option>`."""
    return LAUNCHER_PREFIX + option.upper()


def read_settings(
    arguments: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Determine every option from arguments, environment and defaults.

    Args:
        arguments: options passed in code; `None` counts as not passed.
        environ: the environment; `os.environ` if `None`.

    Raises:
        SettingsError: an option is unknown or has an invalid value.
    """
    environ = os.environ if environ is None else environ
    passed = {
        name: value
        for name, value in (arguments or {}).items()
        if value is not None and name not in IGNORED_OPTIONS
    }
    for alias, option in ALIASES.items():
        if alias in passed:
            value = passed.pop(alias)
            passed.setdefault(option, value)
    if unknown := passed.keys() - set(OPTIONS):
        raise SettingsError(
            f"unknown option {', '.join(sorted(unknown))}; use one of {', '.join(OPTIONS)}"
        )
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option in passed:
            values[option] = _validate(option, passed[option])
        elif (text := _environment_text(option, environ)) is not None:
            values[option] = _PARSERS.get(option, _text)(environment_variable(option), text)
    if "provider_hosts" in values:
        values["provider_hosts"] = _hosts(values["provider_hosts"])
    return Settings(**values)


def _hosts(providers: Mapping[str, object]) -> dict[str, object]:
    """Hosts, and hosts with a port -> provider, from hosts, `host:port` and URLs."""
    hosts: dict[str, object] = {}
    for text, provider in providers.items():
        key = host_key(str(text))
        if not key:
            raise SettingsError(
                f"provider_hosts must map hosts to providers; {text!r} is not a host, host:port or"
                " URL"
            )
        hosts[key] = provider
    return hosts


def not_text(settings: Settings) -> str | None:
    """The first option that must be text and is not; `None` if all are."""
    texts = (option.name for option in fields(Settings) if option.type == "str")
    return next((name for name in texts if not isinstance(getattr(settings, name), str)), None)


def _environment_text(option: str, environ: Mapping[str, str]) -> str | None:
    spellings = (option, *(alias for alias, meant in ALIASES.items() if meant == option))
    named = [
        variable(name)
        for name in spellings
        for variable in (environment_variable, launcher_variable)
    ]
    names = (*named, _FALL_BACKS.get(option))
    return next((environ[name] for name in names if name and environ.get(name)), None)


def _validate(option: str, value: object) -> object:
    """A value passed in code; raises if its type is not the option's."""
    if option in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise SettingsError(f"{option} must be a number, not {value!r}")
    if option in _WHOLE_NUMBERS and not isinstance(value, int):
        raise SettingsError(f"{option} must be a whole number, not {value!r}")
    if option in _FLAGS and not isinstance(value, bool):
        raise SettingsError(f"{option} must be True or False, not {value!r}")
    if option not in _MAPPINGS:
        return value
    if not isinstance(value, Mapping):
        raise SettingsError(f"{option} must be a dict, not {type(value).__name__}")
    return dict(cast("Mapping[str, object]", value))


def _text(_option: str, text: str) -> str:
    return text


def _parse_whole_number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} must be a whole number, not {text!r}") from None


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} must be a number, not {text!r}") from None


def _parse_flag(option: str, text: str) -> bool:
    flags = {"1": True, "true": True, "yes": True, "on": True}
    flags |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return flags[text.strip().lower()]
    except KeyError:
        raise SettingsError(f"{option} must be true or false, not {text!r}") from None


def _parse_mapping(option: str, text: str) -> dict[str, Any]:
    """A JSON object, or a `key=value,key=value` list as in OpenTelemetry's variables."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError:
            raise SettingsError(
                f"{option} is not valid JSON; use key=value,key=value or a JSON object"
            ) from None
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise SettingsError(f"{option} must be key=value,key=value or a JSON object, not {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


_MINIMUMS: Final = {"buffer_size": 1, "max_retries": 0, "circuit_breaker_threshold": 1}
_SECONDS: Final = (
    *("flush_interval_seconds", "retry_backoff_base", "retry_backoff_max"),
    "circuit_breaker_timeout",
)
_WHOLE_NUMBERS: Final = ("batch_size", *_MINIMUMS)
_NUMBERS: Final = (*_WHOLE_NUMBERS, *_SECONDS, "sample_rate")
_FLAGS: Final = ("embedded", "async_mode", "enabled", "debug", "stream_usage")
_MAPPINGS: Final = ("default_metadata", "tags", "provider_hosts")
_PARSERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_WHOLE_NUMBERS, _parse_whole_number),
    **dict.fromkeys(_FLAGS, _parse_flag),
    **dict.fromkeys(_MAPPINGS, _parse_mapping),
}
