"""A simulated world on loopback with a hidden mood."""
