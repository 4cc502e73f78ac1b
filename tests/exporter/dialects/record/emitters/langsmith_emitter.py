"""LangSmith's OpenTelemetry mode around LangChain: a chain with a model call in it."""

from __future__ import annotations

import os

os.environ.update(
    LANGSMITH_TRACING="true",
    LANGSMITH_OTEL_ENABLED="true",
    LANGSMITH_OTEL_ONLY="true",
    LANGSMITH_API_KEY="sk-canary-key",
    LANGSMITH_ENDPOINT=os.environ["RECORD_URL"],
)

import spans

spans.install()
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.langchain import wait_for_all_tracers
from langchain_openai import ChatOpenAI

for label, more in (
    ("openai chain", {}),
    ("openai chain stream", {"streaming": True, "stream_usage": True}),
):
    chain = ChatPromptTemplate.from_template("{question}") | ChatOpenAI(
        model=spans.OPENAI_MODEL, base_url=os.environ["OPENAI_BASE_URL"], **more
    )
    with spans.call(label):
        chain.invoke(
            {"question": spans.PROMPT},
            config={
                "metadata": {"session_id": "session-1", "user_id": "user-1", "plan": "gold"},
                "tags": ["tag-1"],
            },
        )
        wait_for_all_tracers()
spans.write("langsmith", "langchain-openai", "openai")
