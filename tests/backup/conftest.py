"""A home with something of everything, made once a module, and a copy of it for each test."""

from pathlib import Path

import pytest
from backup_world import World, make_world


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("original") / "home")


@pytest.fixture
def world(original: World, tmp_path: Path) -> World:
    return original.copy(tmp_path / "home")
