"""A web service whose calls have a user and a route, and whose responses say what they cost.

export OPENAI_API_KEY=... TOKENLEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/db
uvicorn --app-dir examples fastapi_app:app
curl --include --header 'X-API-Key: key-of-ada' http://127.0.0.1:8000/summaries/42
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
from fastapi import FastAPI

import tokenledger
from tokenledger import attribution
from tokenledger.middleware import FastAPIMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

USERS = {b"key-of-ada": "ada", b"key-of-ben": "ben"}


def user_of(scope: Any) -> str | None:  # noqa: ANN401 - an ASGI scope
    """The user of a request, from its API key; a client cannot choose another one."""
    return USERS.get(dict(scope["headers"]).get(b"x-api-key", b""))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Open the ledger at the start; write the last calls at the end."""
    tokenledger.init(app_name="summaries")
    yield
    tokenledger.shutdown()


app = FastAPI(lifespan=lifespan)
app.add_middleware(FastAPIMiddleware, get_user=user_of, cost_header=True)


@app.get("/summaries/{document}")
async def summary(document: int) -> dict[str, str]:
    """Summarize a document."""
    async with openai.AsyncOpenAI() as client:
        with attribution(feature="summarize"):
            answer = await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"Summarize document {document}."}],
            )
    return {"summary": answer.choices[0].message.content or ""}
