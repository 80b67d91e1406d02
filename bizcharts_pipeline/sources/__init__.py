"""The outside world: one polite HTTP session, and a client and parser for each site."""
