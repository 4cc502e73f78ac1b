"""One module per emitter: which of its span attributes hold which fact."""
