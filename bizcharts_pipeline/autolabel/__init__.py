"""Labels by paid vision models: rate-limited, within a hard budget, each answer paid only once."""
