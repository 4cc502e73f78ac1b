"""The instrumentor of the Anthropic SDK."""

from tokenledger.instrumentors.anthropic.apis import AnthropicInstrumentor

__all__ = ["AnthropicInstrumentor"]
