"""A support desk with eight AI features: an ordinary app that does not import TokenLedger.

It calls two model providers with their SDKs: synchronously, asynchronously and streamed. It adds
only OpenTelemetry baggage: the user, the feature and the team of each call. Run it under
`opentelemetry-instrument`, and the ledger has the cost of every call by those names.

    export OPENAI_API_KEY=... ANTHROPIC_API_KEY=...
    opentelemetry-instrument --traces_exporter tokenledger \
        python -m tokenledger_exporter.demo.support_desk

Both SDKs read `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL` from the environment, so the demo points
the same file at a stand-in on this machine.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anthropic import Anthropic, AsyncAnthropic
from openai import BadRequestError, OpenAI
from opentelemetry import baggage, context

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class Ticket:
    """One message of a customer."""

    customer: str
    language: str
    text: str


TICKETS = (
    Ticket("ada", "en", "The export of my March invoices stops at 80 % and then starts over."),
    Ticket("ben", "de", "Ich finde die Rechnung vom Februar nicht mehr, wo liegt sie?"),
    Ticket("chloe", "fr", "Le taux de change de ma commande est faux depuis lundi."),
    Ticket("ada", "en", "The second export worked, but two invoices show the wrong currency."),
    Ticket("dev", "en", "How do I give my accountant access without sharing my password?"),
    Ticket("emil", "de", "Die Mahnung kam, obwohl ich schon bezahlt habe."),
    Ticket("fatou", "fr", "Je voudrais changer l'adresse de facturation de mon entreprise."),
    Ticket("ben", "en", "Please delete the card ending in 4242 from my account."),
)
ARTICLES = (
    "Exports: why one stops, and how to start it again",
    "Invoices: where to find, download and correct them",
    "Currencies: which exchange rate an order takes",
    "Access: roles for accountants and colleagues",
    "Payments: cards, reminders and refunds",
)
HANDBOOK = "\n".join(
    f"Rule {number}: greet by name, say what happened, what we did and when it will be right."
    for number in range(1, 61)
)
SERVER_LOG = "GET /export/2026-03 502 upstream timed out\n" * 14_000


@contextmanager
def working_on(feature: str, team: str, user: str = "") -> Generator[None]:
    """Attribute every model call inside the block, in addition to the outer attribution."""
    labeled_context = baggage.set_baggage("tokenledger.feature", feature)
    labeled_context = baggage.set_baggage("tokenledger.team", team, labeled_context)
    if user:
        labeled_context = baggage.set_baggage("user.id", user, labeled_context)
    token = context.attach(labeled_context)
    try:
        yield
    finally:
        context.detach(token)


def classify(openai: OpenAI, ticket: Ticket) -> str:
    """Name the queue of a ticket; the customer is in OpenAI's own `user` field."""
    with working_on("classify", team="support"):
        answer = openai.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": "Answer with one word: billing, access or export."},
                {"role": "user", "content": ticket.text},
            ],
            max_completion_tokens=4,
            user=ticket.customer,
        )
    return answer.choices[0].message.content or ""


def summarize(openai: OpenAI, ticket: Ticket) -> str:
    """Sum a ticket up while the agent watches: a streamed answer, long rules in front."""
    with working_on("summarize ticket", team="support", user=ticket.customer):
        stream = openai.chat.completions.create(
            model="gpt-4o",
            messages=[
                {"role": "system", "content": HANDBOOK},
                {"role": "user", "content": f"Sum this up in a sentence: {ticket.text}"},
            ],
            stream=True,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


async def draft_replies(tickets: tuple[Ticket, ...]) -> list[str]:
    """Draft every reply: the first call writes the handbook to the cache, the others read it."""
    async with AsyncAnthropic() as claude:
        first = await draft_reply(claude, tickets[0])
        return [first, *await asyncio.gather(*(draft_reply(claude, t) for t in tickets[1:]))]


async def draft_reply(claude: AsyncAnthropic, ticket: Ticket) -> str:
    """Draft one reply by the rules of the handbook."""
    with working_on("draft reply", team="support", user=ticket.customer):
        async with claude.messages.stream(
            model="claude-sonnet-4-6",
            max_tokens=500,
            system=[{"type": "text", "text": HANDBOOK, "cache_control": {"type": "ephemeral"}}],
            messages=[{"role": "user", "content": ticket.text}],
        ) as stream:
            return await stream.get_final_text()


def search(openai: OpenAI, tickets: tuple[Ticket, ...]) -> list[str]:
    """Find the help article next in meaning to each ticket."""

    def embed(texts: list[str]) -> list[list[float]]:
        answer = openai.embeddings.create(model="text-embedding-3-small", input=texts)
        return [item.embedding for item in answer.data]

    with working_on("search articles", team="docs"):
        articles = list(zip(ARTICLES, embed(list(ARTICLES)), strict=True))
    titles: list[str] = []
    for ticket in tickets:
        with working_on("search articles", team="docs", user=ticket.customer):
            (vector,) = embed([ticket.text])
        nearest = max(articles, key=lambda article: _likeness(vector, article[1]))
        titles.append(nearest[0])
    return titles


def translate(claude: Anthropic, ticket: Ticket) -> str:
    """Put a ticket into English with the small, fast model."""
    with working_on("translate", team="support", user=ticket.customer):
        message = claude.messages.create(
            model="claude-haiku-4-5",
            max_tokens=200,
            messages=[{"role": "user", "content": f"Translate into English: {ticket.text}"}],
        )
    return "".join(block.text for block in message.content if block.type == "text")


def weekly_digest(openai: OpenAI, team: str, tickets: tuple[Ticket, ...]) -> str:
    """Think about a week of tickets; no customer asked for it, so it has no user."""
    week = "\n".join(ticket.text for ticket in tickets)
    with working_on("weekly digest", team=team):
        answer = openai.responses.create(
            model="gpt-5-mini",
            instructions=f"Write the week's digest for the {team} team.",
            input=week,
        )
    return answer.output_text


def read_log(openai: OpenAI, customer: str, log: str) -> str:
    """Explain a log; the provider refuses one that is too long, and a shorter part is sent."""

    def explain(text: str) -> str:
        answer = openai.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": f"What went wrong here?\n{text}"}],
        )
        return answer.choices[0].message.content or ""

    with working_on("explain log", team="platform", user=customer):
        try:
            return explain(log)
        except BadRequestError as refused:
            if refused.code != "context_length_exceeded":
                raise
            return explain(log[-20_000:])


def ask_own_model(openai: OpenAI, ticket: Ticket) -> str:
    """Try the model the company trains itself; no price list knows it."""
    with working_on("experiment", team="research", user=ticket.customer):
        answer = openai.chat.completions.create(
            model="acme-support-7b", messages=[{"role": "user", "content": ticket.text}]
        )
    return answer.choices[0].message.content or ""


def main() -> None:
    """A morning at the support desk."""
    foreign = [ticket for ticket in TICKETS if ticket.language != "en"]
    with OpenAI() as openai, Anthropic() as claude:
        queues = [classify(openai, ticket) for ticket in TICKETS]
        print(f"classified {len(queues)} tickets")
        summaries = [summarize(openai, ticket) for ticket in TICKETS]
        print(f"summarized {len(summaries)} tickets")
        print(f"translated {len([translate(claude, ticket) for ticket in foreign])} tickets")
        print(f"found {len(search(openai, TICKETS))} articles")
        print(f"drafted {len(asyncio.run(draft_replies(TICKETS)))} replies")
        digests = [weekly_digest(openai, team, TICKETS) for team in ("support", "docs", "sales")]
        print(f"wrote {len(digests)} digests")
        read_log(openai, "ada", SERVER_LOG)
        ask_own_model(openai, TICKETS[0])
        print("explained a log and tried our own model")


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
