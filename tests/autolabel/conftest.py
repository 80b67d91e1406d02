from pathlib import Path

import pytest
from autolabel_world import LabelWorld, thread


@pytest.fixture
def world(tmp_path: Path) -> LabelWorld:
    return LabelWorld(tmp_path / "home")


@pytest.fixture
def posts(world: LabelWorld) -> LabelWorld:
    """Thirty posts."""
    world.put(*(thread(number) for number in range(1, 31)))
    return world
