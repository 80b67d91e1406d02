"""Trained models: registry, evaluation on gold, promotion gate, leak checks, release."""
