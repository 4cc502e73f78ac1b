"""The pages of the dashboard, rendered on the server."""
