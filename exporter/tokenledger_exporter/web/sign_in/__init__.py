"""Who looks at the dashboard: sessions of browsers, tokens, a trusted proxy, or this machine."""
