"""The instrumentor of the Anthropic SDK."""
