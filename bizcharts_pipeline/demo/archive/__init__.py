"""The Warosu archive, simulated on loopback."""
