"""The JSON API: one table of endpoints for routes, parameters, errors and OpenAPI."""
