"""A crash-safe queue on disk between the app's calls and the database."""
