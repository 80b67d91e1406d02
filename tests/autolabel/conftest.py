from pathlib import Path

import pytest
from autolabel_world import LabelWorld


@pytest.fixture
def world(tmp_path: Path) -> LabelWorld:
    return LabelWorld(tmp_path / "home")
