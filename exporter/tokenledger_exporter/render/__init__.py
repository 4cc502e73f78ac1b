"""Answers as terminal tables, CSV, JSON and Markdown."""
