"""A Celery task whose model call is attributed to the user that its producer names.

export OPENAI_API_KEY=... TOKENLEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/db
export CELERY_BROKER_URL=redis://localhost:6379/0 TOKENLEDGER_TRUST_BAGGAGE=user_id,team
cd examples

# The worker. The launcher records the calls and carries attribution into the task.
opentelemetry-instrument --traces_exporter tokenledger --metrics_exporter none \
    --logs_exporter none celery --app celery_worker worker

# The producer, in another terminal.
opentelemetry-instrument --traces_exporter none --metrics_exporter none \
    --logs_exporter none python celery_worker.py "The export stops at 80%."
"""

from __future__ import annotations

import sys

import openai
from celery import Celery

from tokenledger import attribution

app = Celery("celery_worker")


@app.task(ignore_result=True)
def classify(text: str) -> None:
    """Name the queue of a support ticket."""
    with openai.OpenAI() as client, attribution(feature="classify"):
        answer = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": f"Answer billing, access or export: {text}"}],
        )
    print(answer.choices[0].message.content)


if __name__ == "__main__":
    with attribution(user_id="ada", team="support"):
        classify.delay(sys.argv[1])
