"""Rented pods: create, boot, stage, watch, collect the result and terminate, after any failure."""
