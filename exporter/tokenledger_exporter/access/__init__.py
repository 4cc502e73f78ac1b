"""Who may talk to a service of ours: tokens, and the names that a server goes by."""
