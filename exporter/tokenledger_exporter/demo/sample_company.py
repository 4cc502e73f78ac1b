"""The invented company of the sample ledger: its features, models, people and customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHAT, EMBEDDINGS = "chat", "embeddings"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as an app calls it.

    Args:
        provider: the provider, in the conventions' spelling.
        name: the model.
        scope: the instrumentation that reports its calls.
        tokens_per_second: output tokens per second, for durations.
        reasons: whether a part of its output is reasoning.
    """

    provider: str
    name: str
    scope: str
    tokens_per_second: int = 90
    reasons: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A part of the product that calls models.

    Args:
        name: the feature.
        team: the team that owns it.
        project: the project that pays for it.
        cost_center: the cost center of the project.
        app: the service it is part of.
        endpoint: the route that leads to it.
        models: its models with how often each is used.
        weight: share of the company's requests.
        input_tokens: median input of a call.
        output_tokens: median output of a call.
        cached: share of the input that a cache answers, from 0 to 1.
        tier: the service tier; "" is the standard one.
        steps: calls of one request, at least and at most.
        agents: the agents whose steps they are.
        is_streamed: whether its answers are streamed.
        has_session: whether its calls belong to a conversation.
        operation: the operation of the conventions.
    """

    name: str
    team: str
    project: str
    cost_center: str
    app: str
    endpoint: str
    models: tuple[tuple[Model, int], ...]
    weight: int
    input_tokens: int
    output_tokens: int
    cached: float = 0.0
    tier: str = ""
    steps: tuple[int, int] = (1, 1)
    agents: tuple[str, ...] = ()
    is_streamed: bool = False
    has_session: bool = False
    operation: str = CHAT


_OPENAI, _ANTHROPIC = "tokenledger.openai", "tokenledger.anthropic"
_GOOGLE: Final = "opentelemetry.instrumentation.google_genai"

_GPT_MINI: Final = Model("openai", "gpt-5-mini", _OPENAI, 120)
_GPT_NANO: Final = Model("openai", "gpt-5-nano", _OPENAI, 180)
_GPT: Final = Model("openai", "gpt-5.2", _OPENAI, 70, reasons=True)
_EMBEDDING: Final = Model("openai", "text-embedding-3-small", _OPENAI, 4_000)
# Served by the company itself: no price list knows it.
_OWN: Final = Model("openai", "acme-router-7b", _OPENAI, 150)
_SONNET: Final = Model("anthropic", "claude-sonnet-4-5", _ANTHROPIC, 75)
_HAIKU: Final = Model("anthropic", "claude-haiku-4-5", _ANTHROPIC, 140)
OPUS: Final = Model("anthropic", "claude-opus-4-5", _ANTHROPIC, 55)
_FLASH: Final = Model("gcp.gemini", "gemini-2.5-flash", _GOOGLE, 200)
_PRO: Final = Model("gcp.gemini", "gemini-2.5-pro", _GOOGLE, 85)

CHAT_FEATURE: Final = Feature(
    "chat",
    *("support", "assistant", "CC-210", "helpdesk", "POST /v1/chat"),
    models=((_GPT_MINI, 9), (_SONNET, 6), (_FLASH, 3)),
    weight=38,
    input_tokens=2_300,
    output_tokens=320,
    cached=0.35,
    is_streamed=True,
    has_session=True,
)
"""The release of two weeks ago changed its prompt."""

RESEARCH: Final = Feature(
    "agent-research",
    *("research", "insights", "CC-340", "research-agent", "POST /v1/research"),
    models=((OPUS, 3), (_GPT, 4), (_PRO, 2)),
    weight=2,
    input_tokens=6_500,
    output_tokens=780,
    cached=0.6,
    steps=(4, 14),
    agents=("planner", "researcher", "reviewer"),
)
"""Runs of several steps: one trace each."""

FEATURES: Final = (
    CHAT_FEATURE,
    Feature(
        "summarize",
        *("support", "assistant", "CC-210", "helpdesk", "POST /v1/tickets/summary"),
        models=((_GPT_NANO, 3), (_HAIKU, 4)),
        weight=14,
        input_tokens=3_600,
        output_tokens=240,
    ),
    Feature(
        "search",
        *("platform", "knowledge-base", "CC-120", "helpdesk", "GET /v1/search"),
        models=((_EMBEDDING, 1),),
        weight=22,
        input_tokens=180,
        output_tokens=0,
        operation=EMBEDDINGS,
    ),
    Feature(
        "translate",
        *("growth", "localization", "CC-230", "helpdesk", "POST /v1/translate"),
        models=((_FLASH, 4), (_GPT_MINI, 1)),
        weight=9,
        input_tokens=900,
        output_tokens=860,
    ),
    Feature(
        "nightly-tagging",
        *("platform", "knowledge-base", "CC-120", "back-office", ""),
        models=((_GPT_MINI, 3), (_HAIKU, 2)),
        weight=8,
        input_tokens=1_800,
        output_tokens=90,
        tier="batch",
    ),
    Feature(
        "draft-reply",
        *("growth", "assistant", "CC-230", "helpdesk", "POST /v1/drafts"),
        models=((_SONNET, 2), (_GPT, 1)),
        weight=6,
        input_tokens=2_900,
        output_tokens=430,
        cached=0.5,
        is_streamed=True,
    ),
    Feature(
        "data-extraction",
        *("platform", "imports", "CC-120", "back-office", "POST /v1/import"),
        models=((_GPT, 1),),
        weight=4,
        input_tokens=5_200,
        output_tokens=610,
        tier="flex",
    ),
    Feature(
        "routing",
        *("platform", "assistant", "CC-120", "helpdesk", "POST /v1/chat"),
        models=((_OWN, 1),),
        weight=3,
        input_tokens=420,
        output_tokens=12,
    ),
    RESEARCH,
)
"""What the product does, and which models it uses for it."""

ORGANIZATIONS: Final = {
    "acme": (
        *("amelie.dubois", "ben.okafor", "carla.santos", "José Álvarez", "田中さくら", "김민준"),
        *("priya.nair", "Łukasz Żak", "sam.whitaker", "ella.johansson"),
    ),
    "globex": (
        *("ليلى حداد", "עומר לוי", "Олена Шевченко", "mateo.rossi", "अनन्या शर्मा", "hugo.lindqvist"),
        *("noor.rahman", "王小明"),
    ),
    "initech": ("Χριστίνα Παππά", "david.kim", "fatima.zahra", "grace.murphy", "ivan.petrov"),
    "harbor-logistics": ("lena.vogt", "tomas.novak", "Nguyễn Thị Hoa"),
}
"""The customers and their users; the first ones are the most active."""

PLANS: Final = {
    "acme": "enterprise",
    "globex": "enterprise",
    "initech": "team",
    "harbor-logistics": "trial",
}
"""What each customer pays for."""

SPIKING_USER: Final = ("globex", "mateo.rossi")
"""Whose research runs were many yesterday."""
