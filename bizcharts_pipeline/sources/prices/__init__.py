"""Prices of coins in US dollars: one client and parser a source, and the row that they all return."""
