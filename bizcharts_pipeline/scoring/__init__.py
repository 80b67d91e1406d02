"""Scores the posts with the champion, and with what replaces it where it cannot."""
