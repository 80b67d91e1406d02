"""The APIs of vision models, simulated on loopback, with a bill."""
