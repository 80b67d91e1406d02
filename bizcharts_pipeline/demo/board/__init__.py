"""4chan's API, simulated on loopback."""
