"""One OpenAI call and one stream, and what they cost.

export OPENAI_API_KEY=... TOKENLEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/db
python examples/basic_openai.py
"""

from __future__ import annotations

import openai

import tokenledger
from tokenledger import attribution
from tokenledger.queries import TokenLedgerQueries


def main() -> None:
    """Make two calls, wait until they are committed, and ask for their cost."""
    tokenledger.init()
    client = openai.OpenAI()
    with tokenledger.meter() as spent, attribution(user_id="ada", feature="haiku"):
        answer = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Write a haiku about ledgers."}]
        )
        print(answer.choices[0].message.content)
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Write another one."}],
            stream=True,
        )
        print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
    print(f"this run: {spent.cost_text}, calls: {spent.calls}, tokens: {spent.tokens.total}")

    tokenledger.flush()
    for model in TokenLedgerQueries().get_costs_by_model(days=1):
        print(f"{model.model}: {model.cost_text}, calls today: {model.total_requests}")


if __name__ == "__main__":
    main()
