"""Options come from arguments, environment and defaults, and a wrong one is named."""

from __future__ import annotations

import pytest

from tokenledger_semconv.settings import (
    OPTIONS,
    Settings,
    SettingsError,
    environment_variable,
    launcher_variable,
    read_settings,
)

# One value a person might give each option: as text, and as the program sees it.
GIVEN: dict[str, tuple[str, object]] = {
    "database_url": ("postgresql://h/db", "postgresql://h/db"),
    "embedded": ("on", True),
    "app_name": ("shop", "shop"),
    "environment": ("production", "production"),
    "batch_size": ("7", 7),
    "flush_interval_seconds": ("0.5", 0.5),
    "async_mode": ("false", False),
    "sample_rate": ("0.25", 0.25),
    "default_metadata": ('{"team": "ml"}', {"team": "ml"}),
    "agent_id": ("bot", "bot"),
    "tags": ("team=ml,tier=gold", {"team": "ml", "tier": "gold"}),
    "enabled": ("0", False),
    "debug": ("yes", True),
    "spool_dir": ("spool", "spool"),
    "stream_usage": ("off", False),
    "provider_hosts": ("llm.example.com=groq", {"llm.example.com": "groq"}),
    "buffer_size": ("50", 50),
    "max_retries": ("2", 2),
    "retry_backoff_base": ("0.1", 0.1),
    "retry_backoff_max": ("7", 7.0),
    "circuit_breaker_threshold": ("4", 4),
    "circuit_breaker_timeout": ("9.5", 9.5),
}


def test_every_option_is_covered_here() -> None:
    assert tuple(GIVEN) == OPTIONS


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_read_from_its_variable_and_the_launchers(option: str) -> None:
    text, value = GIVEN[option]
    for name in (environment_variable(option), launcher_variable(option)):
        assert getattr(read_settings(environ={name: text}), option) == value


@pytest.mark.parametrize("option", OPTIONS)
def test_an_argument_wins_over_the_environment(option: str) -> None:
    _, value = GIVEN[option]
    default = getattr(Settings(), option)
    environ = {environment_variable(option): GIVEN[option][0]}
    assert getattr(read_settings({option: value}, {}), option) == value
    assert getattr(read_settings({option: default}, environ), option) == default


def test_the_variables_of_other_tools_are_fall_backs() -> None:
    environ = {"DATABASE_URL": "postgresql://fallback/db", "OTEL_SERVICE_NAME": "svc"}
    settings = read_settings(environ=environ)
    assert (settings.database_url, settings.app_name) == ("postgresql://fallback/db", "svc")
    environ |= {"TOKENLEDGER_DATABASE_URL": "postgresql://own/db", "TOKENLEDGER_APP_NAME": "app"}
    settings = read_settings(environ=environ)
    assert (settings.database_url, settings.app_name) == ("postgresql://own/db", "app")


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("batch_size", "many", "must be a whole number"),
        ("batch_size", "0", "must be 1 to 100,000, not 0"),
        ("flush_interval_seconds", "0", "must be greater than 0"),
        ("sample_rate", "1.5", "must be 0.0 to 1.0"),
        ("debug", "maybe", "must be true or false"),
        ("tags", "team", "must be key=value"),
        ("buffer_size", "0", "must be 1 or more"),
        ("max_retries", "-1", "must be 0 or more"),
        ("circuit_breaker_threshold", "0", "must be 1 or more"),
        ("retry_backoff_base", "0", "must be greater than 0"),
        ("circuit_breaker_timeout", "-1", "must be greater than 0"),
        ("default_metadata", "{", "not valid JSON"),
    ],
)
def test_an_invalid_value_is_named_with_the_valid_ones(
    option: str, value: str, remedy: str
) -> None:
    with pytest.raises(SettingsError, match=remedy) as caught:
        read_settings(environ={environment_variable(option): value})
    assert option in str(caught.value).lower()


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch_size", 1.5), ("batch_size", True), ("debug", "yes"), ("tags", ["a"]), ("nope", 1)],
)
def test_an_invalid_argument_is_named(option: str, value: object) -> None:
    with pytest.raises(SettingsError, match=option):
        read_settings({option: value}, {})


def test_the_database_url_is_in_no_representation() -> None:
    assert "canary" not in repr(read_settings({"database_url": "postgresql://u:canary@h/db"}, {}))


@pytest.mark.parametrize("name", ["TOKENLEDGER_", "OTEL_PYTHON_TOKENLEDGER_"])
def test_another_trackers_name_sets_an_option_unless_the_options_own_name_does(name: str) -> None:
    assert read_settings(environ={f"{name}FLUSH_BATCH_SIZE": "7"}).batch_size == 7
    both = {f"{name}FLUSH_BATCH_SIZE": "7", "TOKENLEDGER_BATCH_SIZE": "8"}
    assert read_settings(environ=both).batch_size == 8
    assert read_settings({"flush_batch_size": 9}, both).batch_size == 9
    assert read_settings({"flush_batch_size": 9, "batch_size": 10}, {}).batch_size == 10


@pytest.mark.parametrize(
    "environ",
    [
        {"TOKENLEDGER_PROVIDER_HOSTS": "127.0.0.1:8000=vllm,http://gpu:80/v1=ollama"},
        {"TOKENLEDGER_PROVIDER_HOSTS": '{"127.0.0.1:8000": "vllm", "gpu:80": "ollama"}'},
    ],
    ids=["list", "json"],
)
def test_a_providers_host_may_have_a_port(environ: dict[str, str]) -> None:
    assert read_settings({}, environ).provider_hosts == {
        "127.0.0.1:8000": "vllm",
        "gpu:80": "ollama",
    }


def test_a_providers_host_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="'gpu/v1' is not a host, host:port or URL"):
        read_settings({"provider_hosts": {"gpu/v1": "vllm"}}, {})
