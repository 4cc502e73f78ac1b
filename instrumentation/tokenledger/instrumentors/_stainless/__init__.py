"""Shared by SDKs generated with Stainless, such as OpenAI's and Anthropic's."""
