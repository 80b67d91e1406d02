"""Selections of assets that run together."""
