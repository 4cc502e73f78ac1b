"""One pure reader per provider: its usage object as JSON in, a token vector out."""
