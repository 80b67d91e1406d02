"""A simulated board with a hidden mood, and the services around it, on loopback."""
