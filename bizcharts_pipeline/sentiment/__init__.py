"""Scorers behind one protocol: posts in, calibrated stance probabilities out."""
