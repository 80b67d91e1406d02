"""The price services, simulated on loopback."""
