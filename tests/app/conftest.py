"""One database of the app's world, made once; a test that changes it copies it first."""

import shutil
from pathlib import Path

import app_world
import pytest


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the world, not to be changed."""
    home = tmp_path_factory.mktemp("filled") / "home"
    app_world.fill(home)
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the world's at its present moment, and the settings that name it."""
    home = tmp_path / "home"
    shutil.copytree(filled, home)
    monkeypatch.setenv("BIZCHARTS_HOME", str(home))
    monkeypatch.setenv("BIZCHARTS_NOW", app_world.NOW.isoformat())
    return home
