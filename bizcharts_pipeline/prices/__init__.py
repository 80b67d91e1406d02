"""Coin prices from three services in rotation, and alternative.me's reference index."""
