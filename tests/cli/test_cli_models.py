"""The commands for models, as a user meets them: processes of their own, two installations, a GitHub on loopback."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from installation import Installation
from models.github_host import SimulatedGitHub

from bizcharts_pipeline.models.registry import as_row
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON, new_model, publish, read_artifact
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import register_candidate

TOKEN = "ghp_0123456789"
REPOSITORY = "someone/bizcharts-models"


@pytest.fixture
def github() -> Iterator[SimulatedGitHub]:
    with SimulatedGitHub(accepted_token=TOKEN) as running:
        yield running


def installation(folder: Path, github: SimulatedGitHub, **more: str) -> Installation:
    folder.mkdir()
    return Installation(
        folder, "http://127.0.0.1:9", extra={"BIZCHARTS_ML__RELEASE__API_URL": github.url, "GITHUB_TOKEN": "", **more}
    )


def train(home: Path, database: Database) -> str:
    with new_model(home) as folder:
        (folder / "weights.safetensors").write_bytes(os.urandom(1000))
        (folder / TRAINED_ON).write_text("[]")
        settings = {"dataset_version": "d", "code_version": "1", "seed": 1, "settings": {}}
        artifact = publish(folder, home, kind="tfidf", base_model=None, base_revision=None, **settings)
    with database.write() as connection:
        register_candidate(connection, as_row(artifact, datetime(2026, 1, 2)))
    return artifact.model_version


@pytest.mark.slow
def test_a_model_goes_from_one_installation_to_another_and_is_promoted_there(
    tmp_path: Path, github: SimulatedGitHub
) -> None:
    mine = installation(tmp_path / "mine", github, GITHUB_TOKEN=TOKEN, BIZCHARTS_ML__RELEASE__REPOSITORY=REPOSITORY)
    other = installation(tmp_path / "other", github)
    version = train(mine.home, mine.database)

    released = mine.run_command("models", "release", version)
    fetched = other.run_command("models", "fetch", REPOSITORY, version, "--json")
    promoted = other.run_command("models", "promote", version, "--who", "ann", "--reason", "it was good to me")
    again = other.run_command("models", "promote", version, "--reason", "it was good to me")
    listed = other.run_command("models", "list", "--json")
    previewed = other.run_command("models", "preview", version, "--json")
    unknown = other.run_command("models", "preview", "tfidf-0")

    assert json.loads(previewed.stdout)["reason"] == "it is the champion"
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "There is no model tfidf-0" in unknown.stderr
    assert released.returncode == 0, released.stderr
    assert TOKEN not in released.stdout + released.stderr
    assert fetched.returncode == 0, fetched.stderr
    assert promoted.returncode == 0, promoted.stderr
    assert "is the champion already; nothing was changed" in again.stdout
    (row,) = json.loads(listed.stdout)
    assert (row["model_version"], row["status"]) == (version, "champion")
    assert read_artifact(other.home / row["path"], row["sha256"]).model_version == version
    assert version in other.run_command("models", "list").stdout


def test_releases_are_off_until_a_repository_is_named(tmp_path: Path, github: SimulatedGitHub) -> None:
    mine = installation(tmp_path / "mine", github, GITHUB_TOKEN=TOKEN)
    refused = mine.run_command("models", "release", train(mine.home, mine.database))
    assert refused.returncode == 1
    assert "[ml.release]" in refused.stderr
    assert not github.requests
