from pathlib import Path

import pytest
from training_world import TrainingWorld


@pytest.fixture
def world(tmp_path: Path) -> TrainingWorld:
    return TrainingWorld(tmp_path / "home")
