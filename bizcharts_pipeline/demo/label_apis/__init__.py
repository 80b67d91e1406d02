"""APIs of vision models with billing, simulated on loopback."""
