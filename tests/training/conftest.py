import shutil
from pathlib import Path

import pytest
from gate_world import GateWorld
from training_world import TrainingWorld


@pytest.fixture
def world(tmp_path: Path) -> TrainingWorld:
    return TrainingWorld(tmp_path / "home")


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GateWorld.prepared(tmp_path_factory.mktemp("gate") / "home").home


@pytest.fixture
def gated(_prepared: Path, tmp_path: Path) -> GateWorld:
    """204 labelled posts, 51 of them gold, and the lexicon as champion."""
    return GateWorld(Path(shutil.copytree(_prepared, tmp_path / "home")))
