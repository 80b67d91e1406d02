"""RunPod's control plane and machines with billing, simulated on loopback."""
