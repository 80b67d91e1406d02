"""Whether the model that scores the board has gone stale: measures, limits, the alarm and its false-alarm rate."""
