"""Who a client talks to, by the host in its base URL, and what a span says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_MOST_REMEMBERED: Final = 256

PROVIDER_HOSTS: Final[Mapping[str, str]] = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "openai.azure.us": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "inference.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "aiplatform.us.rep.googleapis.com": "gcp.vertex_ai",
    "aiplatform.eu.rep.googleapis.com": "gcp.vertex_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openrouter.ai": "openrouter",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "deepseek.com": "deepseek",
    "x.ai": "x_ai",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "perplexity.ai": "perplexity",
    "cerebras.ai": "cerebras",
    "cohere.ai": "cohere",
    "cohere.com": "cohere",
    "moonshot.ai": "moonshot_ai",
    "moonshot.cn": "moonshot_ai",
    "novita.ai": "novita",
    "baseten.co": "baseten",
    "minimax.io": "minimax",
    "z.ai": "zai",
    "bigmodel.cn": "zhipuai",
    "voyageai.com": "voyageai",
    "deepinfra.com": "deepinfra",
    "hyperbolic.xyz": "hyperbolic",
    "nebius.com": "nebius",
    "sambanova.ai": "sambanova",
    "integrate.api.nvidia.com": "nvidia",
    "huggingface.co": "huggingface",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba",
    "ai.cloud.ovh.net": "ovhcloud",
    "api.cloudflare.com": "cloudflare",
    "githubcopilot.com": "github-copilot",
}
"""Host, or the end of one -> provider as the conventions spell it, where they name it. From each
provider's API reference, read 2026-11-22. A host that stands here in no form is nobody known, nor
are those that a cloud's customers run themselves, and gateways to other providers."""

_REGIONAL_HOSTS: Final = (
    (
        # Also behind a VPC endpoint; not the load balancers and machines that share the domain.
        re.compile(r"(.*\.)?bedrock(-[a-z-]+)?\..*(amazonaws\.(com(\.cn)?|eu)|api\.aws)"),
        "aws.bedrock",
    ),
    (re.compile(r"(.*\.|[a-z0-9-]+-)?aiplatform\.googleapis\.com"), "gcp.vertex_ai"),
)
"""Hosts with a region in them -> provider, as the clients of openai 3.54.0 and anthropic 2.12.0
make them, read 2026-11-22."""

# Ref: OpenAI's "Data controls" (data residency), read 2026-11-26 in a copy of October.
_OPENAI_REGION: Final = re.compile(r"([a-z]{2})\.api\.openai\.com")

_CLIENTS: Final[Mapping[str, str]] = {
    "AzureOpenAI": "azure.ai.openai",
    "AsyncAzureOpenAI": "azure.ai.openai",
    "BedrockOpenAI": "aws.bedrock",
    "AsyncBedrockOpenAI": "aws.bedrock",
    "AnthropicBedrock": "aws.bedrock",
    "AsyncAnthropicBedrock": "aws.bedrock",
    "AnthropicBedrockMantle": "aws.bedrock",
    "AsyncAnthropicBedrockMantle": "aws.bedrock",
    "AnthropicVertex": "gcp.vertex_ai",
    "AsyncAnthropicVertex": "gcp.vertex_ai",
    "AnthropicFoundry": "azure.ai.inference",
    "AsyncAnthropicFoundry": "azure.ai.inference",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client sends its requests.

    Args:
        address: the host; "" where the client has none.
        port: the port; `None` where the client has none.
        told: what a span says of it.
    """

    address: str
    port: int | None
    told: Mapping[str, AttributeValue]


class Endpoints:
    """The endpoints of an SDK's clients, each read once.

    Args:
        sdk_provider: who is called where the host is nobody known: loopback, a proxy, a gateway.
    """

    def __init__(self, sdk_provider: str) -> None:
        self._sdk_provider = sdk_provider
        # By identity, which another client may take later: its URL is another object.
        self._known: dict[int, tuple[object, object, Endpoint]] = {}

    def of(self, client: Any) -> Endpoint:  # noqa: ANN401 - a client of any release of the SDK
        """The endpoint of a client, by its base URL."""
        # The private name, since the public one is computed anew by some clients.
        url, settings = client._base_url, RUNTIME.setup.settings  # noqa: SLF001
        known = self._known.get(id(client))
        if known is not None and known[0] is url and known[1] is settings:
            return known[2]
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        port = getattr(url, "port", None) or _DEFAULT_PORTS.get(getattr(url, "scheme", ""))
        found = self.at(getattr(url, "host", None), port, _by_class(client))
        self._known[id(client)] = (url, settings, found)
        return found

    def at(self, host: object, port: int | None, client_provider: str = "") -> Endpoint:
        """The endpoint at a host.

        Args:
            host: its name; nothing else is an endpoint without one.
            port: its port.
            client_provider: who is called by a client of its kind; "" where that says nothing.
        """
        if not isinstance(host, str) or not host:
            return Endpoint("", None, {names.PROVIDER_NAME: client_provider or self._sdk_provider})
        provider = (
            _by_host(host, RUNTIME.setup.settings.provider_hosts)
            or client_provider
            or _by_host(host, PROVIDER_HOSTS)
            or _by_region(host)
            or self._sdk_provider
        )
        told: dict[str, AttributeValue] = {
            names.PROVIDER_NAME: provider,
            names.SERVER_ADDRESS: host,
        }
        if port is not None:
            told[names.SERVER_PORT] = port
        if region := _OPENAI_REGION.fullmatch(host.lower().rstrip(".")):
            told[names.OPENAI_REGION] = region[1]
        return Endpoint(host, port, told)


def _by_class(client: object) -> str:
    return next(
        (_CLIENTS[base.__name__] for base in type(client).__mro__ if base.__name__ in _CLIENTS), ""
    )


def _by_host(host: str, providers: Mapping[str, object]) -> str:
    """The provider of the longest ending of the host that is named."""
    known = {name.lower(): provider for name, provider in providers.items()}
    labels = host.lower().rstrip(".").split(".")
    endings = (".".join(labels[start:]) for start in range(len(labels)))
    return next((str(known[ending]) for ending in endings if ending in known), "")


def _by_region(host: str) -> str:
    name = host.lower().rstrip(".")
    return next((provider for hosts, provider in _REGIONAL_HOSTS if hosts.fullmatch(name)), "")
