"""``bizcharts export`` and the asset ``index_exports``, from the command to the files."""

import json
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation
from published_rows import DAY, HOUR, insert_index, published_hour

from assets.index_exports import index_exports
from bizcharts_pipeline.settings import FearGreedSettings
from resources.fear_greed import FearGreed
from resources.warehouse import Warehouse

T0 = datetime(2026, 3, 2)
NOW = T0 + DAY


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    installation.home.mkdir()
    with installation.database.write() as connection:
        insert_index(connection, [published_hour(T0 + n * HOUR, n) for n in range(24)])
    return installation


def test_the_command_writes_what_was_known_then(installation: Installation, tmp_path: Path) -> None:
    done = installation.run_here("export", str(tmp_path / "now"), "--json", now=NOW)
    assert (done.returncode, json.loads(done.stdout)["rows"]["index_hour"]) == (0, 24)
    done = installation.run_here("export", str(tmp_path / "then"), "--as-of", "2026-03-02T05:30:00Z", now=NOW)
    assert done.returncode == 0, done.stderr
    assert "index_hour 5" in done.stdout
    assert len(json.loads((tmp_path / "then" / "index_hour.json").read_text())) == 5


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--as-of", "2027-01-01"], 2, "--as-of 2027-01-01 00:00 is in the future"),
        (["--as-of", "noon"], 2, "is no ISO 8601 time"),
    ],
)
def test_a_bad_time_is_refused_in_one_line(
    installation: Installation, tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    done = installation.run_here("export", str(tmp_path / "out"), *words, now=NOW)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1)
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_database_nothing_is_made(tmp_path: Path) -> None:
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    done = installation.run_here("export", str(tmp_path / "out"), now=NOW)
    assert done.returncode == 1
    assert "there is no database" in done.stderr
    assert not (tmp_path / "out").exists()
    done = installation.run_here("api", "--port", "0", now=NOW)
    assert done.returncode == 1
    assert "there is no database" in done.stderr


def test_the_asset_writes_into_the_homes_exports(installation: Installation) -> None:
    home = installation.home
    resources = {
        "warehouse": Warehouse(database=str(home / "bizcharts.duckdb"), home=str(home)),
        "fear_greed": FearGreed(values=FearGreedSettings().model_dump()),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([index_exports], resources=resources, instance=instance)
    metadata = result.asset_materializations_for_node("index_exports")[0].metadata
    assert metadata["rows: index_hour"].value == 24
    assert (home / "exports" / "manifest.json").exists()
    assert "Fear" in (home / "exports" / "report.html").read_text()
