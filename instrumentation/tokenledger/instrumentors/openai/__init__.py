"""The instrumentor of the OpenAI SDK."""

from tokenledger.instrumentors.openai.apis import OpenAIInstrumentor

__all__ = ["OpenAIInstrumentor"]
