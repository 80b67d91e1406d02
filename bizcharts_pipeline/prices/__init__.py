"""Prices of coins and the reference index, from four services in rotation."""
