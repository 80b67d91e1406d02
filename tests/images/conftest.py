from collections.abc import Iterator
from pathlib import Path

import pytest
from picture_world import PictureHost, PictureWorld

from bizcharts_pipeline.settings import ImageSettings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PictureWorld]:
    with PictureHost() as board, PictureHost() as archive:
        yield PictureWorld(tmp_path, board, archive, ImageSettings(max_bytes=1_000_000, max_pixels=1_000_000))
