"""Thin handles on settings, sources and the warehouse."""
