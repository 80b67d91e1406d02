"""Dagster resources: thin wrappers of settings, sources and the warehouse."""
