"""The one way to the outside world: sessions with time-outs and size caps, rate limits, redirects, quarantine."""
