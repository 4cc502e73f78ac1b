"""The provider of a call: by its host, by the class of its client, or as the app configures it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI

import tokenledger
from support.ledger_in_memory import ledger_name
from support.loopback import Loopback, method_of, said, streamed
from support.openai_cases import COMPLETION_COUNTS, MESSAGES, completion
from support.spans import token_vector
from tokenledger.instrumentors._base.endpoints import Endpoints
from tokenledger.instrumentors.openai.apis import CLIENT_CLASSES, region_of
from tokenledger_semconv import attributes
from tokenledger_semconv.provider_hosts import PROVIDER_HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Sdk

OF_OPENAI = Endpoints("openai", CLIENT_CLASSES, region_of)


def named(host: str) -> object:
    return OF_OPENAI.at(host, 443).attributes[attributes.PROVIDER_NAME]


@pytest.mark.parametrize(("host", "provider"), PROVIDER_HOSTS.items())
def test_every_known_host_and_all_hosts_below_it_have_their_provider(
    host: str, provider: str
) -> None:
    assert named(host) == provider
    assert named(host.upper()) == provider
    assert named(f"{host}.") == provider
    assert named(f"eu.api.{host}") == provider


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("eu.api.openai.com", "eu"),
        ("US.api.openai.com.", "us"),
        ("api.openai.com", None),
        ("eu.api.openai.com.example.com", None),
        ("eu.api.x.ai", None),
    ],
)
def test_a_regional_endpoint_of_openai_has_its_region(host: str, region: str | None) -> None:
    assert OF_OPENAI.at(host, 443).attributes.get(attributes.OPENAI_REGION) == region


@pytest.mark.parametrize("host", PROVIDER_HOSTS)
def test_a_host_that_only_ends_in_the_same_letters_is_unknown(host: str) -> None:
    """`fox.ai` is not `x.ai`."""
    assert named(f"fo{host}") == "openai"
    assert named(f"{host}.example.com") == "openai"


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("contoso.openai.azure.com", "azure.ai.openai"),
        ("contoso.openai.azure.us", "azure.ai.openai"),
        ("contoso.cognitiveservices.azure.com", "azure.ai.openai"),
        ("contoso.services.ai.azure.com", "azure.ai.inference"),
        ("llama.eastus2.models.ai.azure.com", "azure.ai.inference"),
        ("models.inference.ai.azure.com", "azure.ai.inference"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-mantle.us-east-1.api.aws", "aws.bedrock"),
        ("vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "aws.bedrock"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("us-east5-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("aiplatform.eu.rep.googleapis.com", "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("api.groq.com", "groq"),
        ("api.x.ai", "x_ai"),
        ("openrouter.ai", "openrouter"),
        ("router.huggingface.co", "huggingface"),
        ("oai.endpoints.kepler.ai.cloud.ovh.net", "ovhcloud"),
    ],
)
def test_regional_hosts_have_their_provider(host: str, provider: str) -> None:
    assert named(host) == provider


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "::1",
        "llm.example.com",
        "fox.ai",
        "my-balancer.us-east-1.elb.amazonaws.com",
        "ec2-1-2-3-4.compute-1.amazonaws.com",
        "notbedrock-runtime.us-east-1.amazonaws.com.example.com",
        "vps-1.vps.ovh.net",
        "gateway.ai.cloudflare.com",
        "storage.googleapis.com",
        # Anthropic itself sells Claude there, at its own prices.
        "aws-external-anthropic.us-east-1.api.aws",
        "claude.googleapis.com",
    ],
)
def test_unknown_hosts_have_the_sdks_own_provider(host: str) -> None:
    assert named(host) == "openai"
    assert Endpoints("anthropic").at(host, None).attributes[attributes.PROVIDER_NAME] == "anthropic"


@pytest.mark.parametrize("provider", sorted(set(PROVIDER_HOSTS.values())))
def test_the_ledger_knows_every_provider(provider: str) -> None:
    assert ledger_name(provider)


def test_an_endpoint_has_a_port_if_its_url_has_one() -> None:
    with_port = OF_OPENAI.at("llm.example.com", 8_000)
    assert (with_port.address, with_port.port) == ("llm.example.com", 8_000)
    assert with_port.attributes[attributes.SERVER_PORT] == 8_000
    assert attributes.SERVER_PORT not in OF_OPENAI.at("llm.example.com", None).attributes
    assert OF_OPENAI.at(None, 443).attributes == {attributes.PROVIDER_NAME: "openai"}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        server.on("/chat/completions", said(completion()))
        yield server


def ask(client: OpenAI) -> None:
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def client_of(url: str) -> OpenAI:
    return OpenAI(base_url=url, api_key="sk-canary-key", max_retries=0)


@pytest.mark.parametrize(
    ("key", "host", "provider"),
    [
        ("llm.example.com", "llm.example.com", "groq"),
        ("Example.COM", "llm.example.com", "groq"),
        ("example.com", "badexample.com", "openai"),
        ("api.openai.com", "eu.api.openai.com", "groq"),
        ("eu.api.openai.com", "api.openai.com", "openai"),
    ],
    ids=["exact", "parent", "not a parent", "known", "sibling"],
)
def test_the_app_names_its_own_hosts(
    ledgers: list[LedgerInMemory], key: str, host: str, provider: str
) -> None:
    tokenledger.configure(provider_hosts={key: "groq"})
    assert ledgers
    assert named(host) == provider


def test_the_environment_names_hosts(
    ledgers: list[LedgerInMemory], server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = json.dumps({"127.0.0.1": "groq"})
    monkeypatch.setenv("TOKENLEDGER_PROVIDER_HOSTS", hosts)
    tokenledger.configure()
    tokenledger.patch_openai()
    with client_of(server.url) as client:
        ask(client)
    assert ledgers[0].only()[attributes.PROVIDER_NAME] == "groq"


def test_naming_a_host_later_applies_to_existing_clients(
    ledgers: list[LedgerInMemory], server: Loopback
) -> None:
    tokenledger.configure()
    tokenledger.patch_openai()
    with client_of(server.url) as client:
        ask(client)
        tokenledger.configure(provider_hosts={"127.0.0.1": "groq"})
        ask(client)
    names = [ledger.only()[attributes.PROVIDER_NAME] for ledger in ledgers]
    assert names == ["openai", "groq"]


def test_another_base_url_is_another_endpoint(ledger: LedgerInMemory, server: Loopback) -> None:
    with client_of("http://127.0.0.1:1/never-called") as client:
        ask(client.with_options(base_url=server.url))
    assert ledger.only()[attributes.SERVER_PORT] == int(server.url.rpartition(":")[2])


_CHAT = "/openai/deployments/my-deployment/chat/completions"


@pytest.mark.parametrize("by_url", [False, True], ids=["endpoint", "base url"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_azure_is_recognized_by_its_client(
    ledger: LedgerInMemory, server: Loopback, *, by_url: bool, streams: bool
) -> None:
    """The request names the deployment; the answer names the model."""
    chunk = {"object": "chat.completion.chunk", "id": "", "model": "", "created": 0}
    filtered = {**chunk, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    named_chunk = {**chunk, "model": "gpt-4o-2024-08-06", "id": "c-1"}
    counted: dict[str, Any] = {**named_chunk, "choices": [], "usage": completion()["usage"]}
    server.on(
        _CHAT,
        streamed((filtered, {**named_chunk, "choices": []}, counted), done=True)
        if streams
        else said(completion()),
    )
    where: dict[str, Any] = (
        {"base_url": f"{server.url}/openai/deployments/my-deployment"}
        if by_url
        else {"azure_endpoint": server.url}
    )
    client: Sdk = AzureOpenAI(
        **where, api_key="sk-canary-key", api_version="2025-01-01", max_retries=0
    )
    with client:
        answer = client.chat.completions.create(
            model="my-deployment", messages=MESSAGES, stream=streams
        )
        if streams:
            list(answer)
    span = ledger.only()
    assert span[attributes.PROVIDER_NAME] == "azure.ai.openai"
    assert span[attributes.REQUEST_MODEL] == "my-deployment"
    assert span[attributes.RESPONSE_MODEL] == "gpt-4o-2024-08-06"
    assert token_vector(span) == COMPLETION_COUNTS


def test_the_apps_own_hosts_win_over_the_class_of_the_client(
    ledgers: list[LedgerInMemory], server: Loopback
) -> None:
    tokenledger.configure(provider_hosts={"127.0.0.1": "my-gateway"})
    tokenledger.patch_openai()
    server.on(_CHAT, said(completion()))
    with AzureOpenAI(
        azure_endpoint=server.url, api_key="k", api_version="2025-01-01", max_retries=0
    ) as client:
        client.chat.completions.create(model="my-deployment", messages=MESSAGES)
    assert ledgers[0].only()[attributes.PROVIDER_NAME] == "my-gateway"


def test_bedrock_is_recognized_by_openais_client_for_it(
    ledger: LedgerInMemory, server: Loopback
) -> None:
    kind = method_of(openai, "BedrockOpenAI")
    with kind(base_url=server.url, api_key="k", max_retries=0) as client:
        client.chat.completions.create(model="openai.gpt-oss-120b-1:0", messages=MESSAGES)
    assert ledger.only()[attributes.PROVIDER_NAME] == "aws.bedrock"
