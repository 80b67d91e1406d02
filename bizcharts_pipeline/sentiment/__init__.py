"""Sentiment scorers behind one protocol: posts in, calibrated stance probabilities out."""
