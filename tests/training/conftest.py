from pathlib import Path

import pytest
from training.gate_world import gated, prepared
from training.training_world import TrainingWorld

__all__ = ["gated", "prepared"]


@pytest.fixture
def world(tmp_path: Path) -> TrainingWorld:
    return TrainingWorld(tmp_path / "home")
