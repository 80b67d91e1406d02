"""An installation of the labeller's."""

from pathlib import Path

import pytest
from labeller_world import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "home"
    path.mkdir()
    return Home(path)
