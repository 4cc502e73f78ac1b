"""The ledger's provider names: one for each provider of genai-prices, however it is spelled.

Conventions, gateways and frameworks name the same provider differently. A name that no table has is
stored unchanged; its calls have no price, and their rows say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Ledger's name -> other spellings of it. The names on the left that genai-prices lists are its
# provider ids (0.2.3); on the right, `gen_ai.provider.name` and `gen_ai.system` of the
# semantic-conventions registry and what LiteLLM, OpenLLMetry and OpenLIT write (read 2026-11-22),
# and LangChain, Pydantic AI, Semantic Kernel and the Vercel AI SDK (2026-11-25).
_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws": (
        *("aws.bedrock", "aws_bedrock", "bedrock", "bedrock_converse", "amazon-bedrock"),
        *("amazon_bedrock", "amazon.bedrock"),
    ),
    "azure": (
        *("azure.ai.openai", "azure.ai.inference", "az.ai.openai", "az.ai.inference"),
        *("azure_openai", "azure_ai", "azure-openai", "microsoft.foundry"),
    ),
    "cloudflare": ("cloudflare.workers_ai", "cloudflare-workers-ai", "workers-ai"),
    "fireworks": ("fireworks_ai", "fireworks-ai", "fireworks.ai"),
    "github-copilot": ("github_copilot", "github.copilot"),
    "google": (
        *("gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai", "gemini", "vertex_ai", "vertexai"),
        *("vertex_ai_beta", "google_genai", "google-vertex", "google.generativeai", "vertex"),
        *("google_vertexai", "google-gla", "google-cloud", "google_ai", "googleai"),
    ),
    "groq": ("groqcloud",),
    "mistral": ("mistral_ai", "mistralai", "mistral-ai", "codestral"),
    "openai": ("text-completion-openai", "openai_responses"),
    "anthropic": ("anthropic_text",),
    "moonshotai": ("moonshot_ai", "moonshot", "moonshot-ai"),
    "novita": ("novita_ai", "novita-ai"),
    "ovhcloud": ("ovh", "ovh_cloud"),
    "perplexity": ("perplexity_ai", "perplexity-ai", "perplexityai"),
    "together": ("together_ai", "together-ai", "togetherai"),
    "voyageai": ("voyage", "voyage_ai", "voyage-ai"),
    "x-ai": ("x_ai", "xai", "x.ai"),
    "zai": ("z_ai", "z-ai", "z.ai"),
    "zhipuai": ("zhipu", "zhipu_ai", "zhipu-ai"),
    "cohere": ("cohere_ai", "cohere_chat"),
    "deepseek": ("deepseek_ai", "deepseek-ai"),
    "minimax": ("minimax_ai", "minimaxai"),
    "cerebras": ("cerebras_ai", "cerebras-ai"),
    "databricks": ("databricks.ai",),
}
_LEDGER_NAMES: Final = {
    spelling: name for name, spellings in _SPELLINGS.items() for spelling in (name, *spellings)
}


def ledger_name(reported_name: str) -> str:
    """The ledger's name of a provider, in lower case; an unknown name is returned unchanged.

    The Vercel AI SDK appends the API to the provider (`openai.chat`, `anthropic.messages`). If the
    whole name is unknown, a known name before the first dot is used.
    """
    name = reported_name.strip().lower()
    known = _LEDGER_NAMES.get(name)
    if known is not None or "." not in name:
        return known or name
    before = name.partition(".")[0]
    return _LEDGER_NAMES.get(before, name)
