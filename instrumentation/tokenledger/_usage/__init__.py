"""Pure readers: a provider's answer in, span attributes out. No SDK is imported."""
