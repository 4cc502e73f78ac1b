"""Shared by SDKs that the Stainless generator writes, such as OpenAI's and Anthropic's."""
