"""A new champion with the same encoder scores stored posts without encoding them."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from tiny_encoder import SIZE, tiny_encoder

from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.artifact import model_path, new_model, publish
from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import ModelVersion, promote
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 1, 2, 12)
TEXTS = {number: f"coin number {number} is over" for number in range(1, 30)}
SCORE = (
    "import json, sys; from pathlib import Path; from datetime import datetime\n"
    "from bizcharts_pipeline.scoring.champion import champion_scorer\n"
    "from bizcharts_pipeline.scoring.new_posts import score_new_posts\n"
    "from bizcharts_pipeline.scoring.place import Place\n"
    "from bizcharts_pipeline.warehouse.database_file import DatabaseFile\n"
    "database = DatabaseFile(Path(sys.argv[1])); now = datetime(2026, 1, 2, 12)\n"
    "scorer = champion_scorer(database, Place(database.path.parent), now)\n"
    "print(json.dumps([score_new_posts(database, scorer, limit=None, now=now).scored, 'onnxruntime' in sys.modules]))\n"
)


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    database = DatabaseFile(tmp_path / "bizcharts.duckdb")
    threads = [
        PreparedThread(SourceThread(number, NOON, "live", op_html=text), text, None, 0.0, ())
        for number, text in TEXTS.items()
    ]
    with database.write() as connection:
        merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)
    return database


def make_champion(database: DatabaseFile, seed: int) -> ModelVersion:
    """Make a model the champion: always the same encoder, each seed with another head."""
    home, rng = database.path.parent, np.random.default_rng(seed)
    with new_model(home) as folder:
        EncoderModel(tiny_encoder(), rng.standard_normal((3, SIZE)), np.zeros(3)).save(folder)
        write_temperature(folder, 1.0)
        artifact = publish(folder, home, kind="minilm", base_model=None, base_revision=None, dataset_version="d",
                           code_version="1", seed=seed, settings={})  # fmt: skip
    name = artifact.model_version
    row = ModelVersion(name, "minilm", None, "d", NOON, None, None, "champion", f"models/{name}", artifact.sha256)
    with database.write() as connection:
        promote(connection, row)
    return row


def test_a_change_of_champion_encodes_no_stored_post_again(database: DatabaseFile) -> None:
    home = database.path.parent
    make_champion(database, 1)
    first = score_new_posts(database, champion_scorer(database, Place(home), NOON), limit=None, now=NOON)
    assert first.scored == len(TEXTS)
    row = make_champion(database, 2)
    said = subprocess.run(
        [sys.executable, "-c", SCORE, str(database.path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(said.stdout) == [len(TEXTS), False]
    fresh = load_scorer(model_path(home, row.model_version), row.sha256 or "")
    scores = fresh.score([Post("", text) for text in TEXTS.values()])
    exact = {number: score.score for number, score in zip(TEXTS, scores, strict=True)}
    with database.read() as connection:
        query = "SELECT thread_id, score FROM scored_posts WHERE model_version = ?"
        assert dict(connection.execute(query, [row.model_version]).fetchall()) == exact
