"""Budgets over HTTP: any language reserves, settles and releases as an app in Python does."""
