"""The instrumentor of the OpenAI SDK."""
