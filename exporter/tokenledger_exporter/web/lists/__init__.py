"""Lists that pages and endpoints share: their parameters, and how they read them."""
