"""Trained models: registry, evaluation on gold, gate, promotion, leak checks, release."""
