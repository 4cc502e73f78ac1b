"""Three agents on two providers, and what each of them costs.

export OPENAI_API_KEY=... ANTHROPIC_API_KEY=...
export TOKENLEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/db
python examples/multi_agent.py
"""

from __future__ import annotations

import anthropic
import openai

import tokenledger
from tokenledger import attribution
from tokenledger.queries import TokenLedgerQueries


@attribution(agent_id="planner")
def plan(client: openai.OpenAI, question: str) -> list[str]:
    """Split a question into steps."""
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": f"Split into two steps: {question}"}]
    )
    return (answer.choices[0].message.content or "").splitlines()[:2] or [question]


@attribution(agent_id="researcher")
def research(client: anthropic.Anthropic, step: str) -> str:
    """Answer one step with a small, fast model."""
    message = client.messages.create(
        model="claude-haiku-4-5", max_tokens=300, messages=[{"role": "user", "content": step}]
    )
    return "".join(block.text for block in message.content if block.type == "text")


@attribution(agent_id="writer")
def write(client: anthropic.Anthropic, notes: list[str]) -> str:
    """Write the final answer with a larger model."""
    message = client.messages.create(
        model="claude-sonnet-4-6",
        max_tokens=500,
        messages=[{"role": "user", "content": "\n".join(["Combine these notes:", *notes])}],
    )
    return "".join(block.text for block in message.content if block.type == "text")


def main() -> None:
    """Run the three agents for one question, then print the cost of each."""
    tokenledger.init()
    with attribution(feature="research", session_id="session-1"):
        steps = plan(openai.OpenAI(), "How do ledgers stay consistent?")
        claude = anthropic.Anthropic()
        print(write(claude, [research(claude, step) for step in steps]))

    tokenledger.flush()
    for row in TokenLedgerQueries().get_costs_by("agent", days=1).rows:
        print(f"{row.labels[0]}: {row.cost_text}, calls: {row.calls}")


if __name__ == "__main__":
    main()
