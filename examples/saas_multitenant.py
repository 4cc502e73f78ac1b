"""What each tenant of a SaaS product costs, by plan, and one tenant's bill.

export OPENAI_API_KEY=... TOKENLEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/db
python examples/saas_multitenant.py
"""

from __future__ import annotations

from dataclasses import dataclass

import openai

import tokenledger
from tokenledger import attribution
from tokenledger.queries import TokenLedgerQueries


@dataclass(frozen=True)
class Tenant:
    """A customer of the product."""

    name: str
    plan: str
    users: tuple[str, ...]


TENANTS = (
    Tenant("acme", "enterprise", ("ada", "ben")),
    Tenant("globex", "starter", ("chloe",)),
)


def answer(client: openai.OpenAI, question: str) -> str:
    """Answer a question; the tenant comes from the context, not from an argument."""
    completion = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}]
    )
    return completion.choices[0].message.content or ""


def main() -> None:
    """Serve every user once, then print the cost by tenant, by plan, and one bill."""
    tokenledger.init()
    client = openai.OpenAI()
    for tenant in TENANTS:
        with attribution(organization_id=tenant.name, feature="assistant", plan=tenant.plan):
            for user in tenant.users:
                with attribution(user_id=user):
                    answer(client, "What changed in my account this week?")

    tokenledger.flush()
    queries = TokenLedgerQueries()
    for row in queries.get_costs_by("organization", "metadata.plan", days=30).rows:
        organization, plan = row.labels
        print(f"{organization} ({plan}): {row.cost_text}, calls: {row.calls}")
    bill = queries.get_costs_by("user", days=30, where={"organization": "acme"})
    for row in bill.rows:
        print(f"acme / {row.labels[0]}: {row.cost_text}")
    print(f"acme in total: {bill.totals.cost_text}; {bill.coverage.sentence}")


if __name__ == "__main__":
    main()
