"""What the UI shows of the index: the image first, then words and numbers."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.indexes import indexes
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline
from bizcharts_pipeline.settings import load_settings
from resources.fear_greed import FearGreed
from resources.scorers import Scorers
from resources.warehouse import Warehouse

NOW = datetime(2026, 3, 2, 12, 0)


@pytest.mark.slow
def test_the_asset_shows_the_image_first_and_says_how_many_days_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    settings = load_settings(home=tmp_path)
    pipeline = LivePipeline.from_settings(settings)
    fill_history(World(7, NOW - timedelta(days=4), 5), pipeline, NOW)
    resources = {
        "warehouse": Warehouse(database=settings.database_name),
        "scorers": Scorers(home=str(tmp_path)),
        "fear_greed": FearGreed(values=settings.fear_greed.model_dump()),
    }
    result = dg.materialize([indexes], resources=resources)
    (shown,) = (event.metadata for event in result.asset_materializations_for_node("indexes")
                if event.asset_key == dg.AssetKey("fear_greed_index"))  # fmt: skip
    assert list(shown)[:2] == ["index", "in words"]
    assert "data:image/svg+xml" in str(shown["index"].value)
    assert shown["in words"].value == "calibrating: no index yet, 56 more days of history needed"
    assert {"stance", "stance_lo", "stance_hi", "n", "n_eff"} < set(shown)
    assert "value" not in shown
    assert isinstance(shown["stance"], dg.FloatMetadataValue)
