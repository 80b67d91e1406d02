"""HTTP client for all sources: sessions with time-outs and size caps, rate limits, redirects, quarantine."""
