"""A rented GPU's control plane and machines, simulated on loopback, with a bill."""
