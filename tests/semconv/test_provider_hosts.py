"""A host's name gives its provider; what is not in the tables has none."""

from __future__ import annotations

import pytest

from tokenledger_semconv.provider_hosts import PROVIDER_HOSTS, host_key, provider_of_host


@pytest.mark.parametrize(("host", "provider"), PROVIDER_HOSTS.items())
def test_a_listed_host_and_the_hosts_below_it_have_their_provider(host: str, provider: str) -> None:
    assert provider_of_host(host) == provider
    assert provider_of_host(f"EU.{host.upper()}.") == provider


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock"),
        ("europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("elb.eu-central-1.amazonaws.com", ""),
        ("fox.ai", ""),
        ("localhost", ""),
    ],
)
def test_a_regional_host_has_a_provider_and_its_neighbors_have_none(
    host: str, provider: str
) -> None:
    assert provider_of_host(host) == provider


def test_custom_hosts_replace_the_tables_and_the_longest_ending_decides() -> None:
    custom = {"example.com": "groq", "eu.example.com": "mistral_ai"}
    assert provider_of_host("llm.eu.example.com", custom) == "mistral_ai"
    assert provider_of_host("llm.us.example.com", custom) == "groq"
    assert not provider_of_host("api.openai.com", custom)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("LLM.example.com.", "llm.example.com"),
        (" llm.example.com ", "llm.example.com"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000"),
        ("https://llm.example.com/openai/v1?x=1", "llm.example.com"),
        ("*.example.com", "example.com"),
        ("llm.example.com/", "llm.example.com"),
        ("::1", "::1"),
        ("[::1]:8000", "::1:8000"),
    ],
)
def test_a_host_may_be_written_with_a_port_or_as_a_url(text: str, key: str) -> None:
    assert host_key(text) == key


@pytest.mark.parametrize("text", ["", "a b", "host:port", "host/v1", "http://", "host:99999999"])
def test_what_is_no_host_has_no_key(text: str) -> None:
    assert not host_key(text)


def test_the_port_distinguishes_two_servers_of_one_host() -> None:
    custom = {"127.0.0.1:8000": "vllm", "127.0.0.1": "ollama"}
    assert provider_of_host("127.0.0.1", custom, 8_000) == "vllm"
    assert provider_of_host("127.0.0.1", custom, 8_001) == "ollama"
    assert provider_of_host("127.0.0.1", custom) == "ollama"
