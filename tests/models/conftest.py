from training.gate_world import gated, prepared

__all__ = ["gated", "prepared"]
