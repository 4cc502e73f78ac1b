"""The price book and its arithmetic: from token counts and a model to an amount of money."""
