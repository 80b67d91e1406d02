"""The asset that releases the champion: off until a repository is named."""

import os
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from models.github_host import SimulatedGitHub

from assets.model_release import model_release
from bizcharts_pipeline.models.registry import as_row
from bizcharts_pipeline.sentiment.artifact import new_model, publish
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import promote
from resources.model_releases import ModelReleases
from resources.warehouse import Warehouse

REPOSITORY = "someone/models"


def materialised(home: Path, **fields: str) -> dict[str, object]:
    resources = {
        "warehouse": Warehouse(database=str(home / "test.duckdb")),
        "model_releases": ModelReleases(home=str(home), **fields),
    }
    result = dg.materialize([model_release], resources=resources)
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_it_releases_the_champion_and_only_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_0123456789")
    with SimulatedGitHub(accepted_token="ghp_0123456789") as github:
        assert materialised(tmp_path)["released"] is False
        assert materialised(tmp_path, repository=REPOSITORY, api_url=github.url)["released"] is False  # the lexicon
        assert not github.requests
        with new_model(tmp_path) as folder:
            (folder / "weights.safetensors").write_bytes(os.urandom(1000))
            made = {"base_model": None, "base_revision": None, "dataset_version": "d", "code_version": "1"}
            artifact = publish(folder, tmp_path, kind="tfidf", seed=1, settings={}, **made)
        with DatabaseFile(tmp_path / "test.duckdb").write() as connection:
            promote(connection, as_row(artifact, datetime(2026, 1, 2)))

        said = materialised(tmp_path, repository=REPOSITORY, api_url=github.url)

        assert (said["released"], said["model_version"]) == (True, artifact.model_version)
        assert said["release"] == github.releases(REPOSITORY)[0]["html_url"]
