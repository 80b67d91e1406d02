"""The small servers for people: the labeller."""
