"""Maps API hosts to providers, in the spelling of the semantic conventions."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

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
"""Host, or the ending of a host -> provider, spelled as the conventions do where they name it. From
each provider's API reference, read 2026-11-22. Left out: hosts that customers of a cloud run
themselves, and gateways to other providers."""

_REGIONAL_HOSTS: Final = (
    (
        # Includes VPC endpoints; excludes load balancers and machines that share the domain.
        re.compile(r"(.*\.)?bedrock(-[a-z-]+)?\..*(amazonaws\.(com(\.cn)?|eu)|api\.aws)"),
        "aws.bedrock",
    ),
    (re.compile(r"(.*\.|[a-z0-9-]+-)?aiplatform\.googleapis\.com"), "gcp.vertex_ai"),
)
"""Host names that contain a region -> provider, as the clients of openai 3.54.0 and anthropic
2.12.0 build them, read 2026-11-22."""


def host_key(text: str) -> str:
    """The host, with its port if there is one, of a host, `host:port` or URL; "" if it is neither.

    `*.example.com` is `example.com`, which stands for all hosts below it.
    """
    name = text.strip().lower().removeprefix("*.")
    if "://" not in name and name.count(":") > 1 and "[" not in name:
        # An IPv6 address without brackets has no port.
        name = f"[{name}]"
    try:
        address = urlsplit(name if "://" in name else f"//{name}")
        host, port = address.hostname or "", address.port
    except ValueError:
        return ""
    is_url = "://" in name
    if not host or any(map(str.isspace, host)) or (address.path.strip("/") and not is_url):
        return ""
    host = host.rstrip(".")
    return host if port is None else f"{host}:{port}"


def provider_of_host(
    host: str, custom: Mapping[str, object] | None = None, port: int | None = None
) -> str:
    """The provider that answers at a host; "" if unknown.

    Args:
        host: its name.
        custom: host, or host and port -> provider, used in place of the tables above. A host with
            the port decides, then the longest matching ending of the host.
        port: its port.
    """
    name = host.lower().rstrip(".")
    if custom and port is not None and f"{name}:{port}" in custom:
        return str(custom[f"{name}:{port}"])
    provider = _by_suffix(name, PROVIDER_HOSTS if custom is None else custom)
    if provider or custom is not None:
        return provider
    return next((provider for hosts, provider in _REGIONAL_HOSTS if hosts.fullmatch(name)), "")


def _by_suffix(name: str, providers: Mapping[str, object]) -> str:
    known = {ending.lower(): provider for ending, provider in providers.items()}
    labels = name.split(".")
    endings = (".".join(labels[start:]) for start in range(len(labels)))
    return next((str(known[ending]) for ending in endings if ending in known), "")
