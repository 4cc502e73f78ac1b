"""A host's name gives its provider; what is not in the tables has none."""

from __future__ import annotations

import pytest

from tokenledger_semconv.provider_hosts import PROVIDER_HOSTS, provider_of_host


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
