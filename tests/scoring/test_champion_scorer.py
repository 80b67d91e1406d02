"""Whose scores count, on a machine that can run the champion and on one that cannot."""

import logging
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from bizcharts_pipeline.core.rows import PreparedThread, ScoredPost, SourceThread
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import ScoringReport, score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.artifact import new_model, publish
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import ModelVersion, ensure_lexicon_champion, promote
from bizcharts_pipeline.warehouse.scores import save_scores
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 1, 2, 12)
WAYS = ("sell it all now", "what is a wallet", "we are so back")
EXAMPLES = [TextExample(k, None, Post("", f"{WAYS[k % 3]} number {k}"), k % 3, k) for k in range(60)]
MENTIONS = "$BTC will go to the moon. But $ETH is finished, it is over."


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "bizcharts.duckdb")


def make_champion(database: DatabaseFile, kind: str = "tfidf", vocabulary: str = "") -> ModelVersion:
    """Train a small model and make it the champion, as ``kind``."""
    home, recipe = database.path.parent, TfidfRecipe()
    with new_model(home) as folder:
        recipe.fit(EXAMPLES, folder, 1)
        if vocabulary:
            (folder / "vocabulary.json").write_text(vocabulary)
        artifact = publish(folder, home, kind=kind, base_model=None, base_revision=None, dataset_version="d",
                           code_version="1", seed=1, settings=recipe.settings)  # fmt: skip
    name = artifact.model_version
    row = ModelVersion(name, kind, None, "d", NOON, None, None, "champion", f"models/{name}", artifact.sha256)
    with database.write() as connection:
        promote(connection, row)
    return row


def post(database: DatabaseFile, texts: dict[int, str]) -> None:
    threads = [PreparedThread(SourceThread(n, NOON, "live", op_html=text), text, None, 0.0, ()) for n, text in
               texts.items()]  # fmt: skip
    with database.write() as connection:
        merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)


def tick(database: DatabaseFile, limit: int | None = 500) -> ScoringReport:
    return score_new_posts(
        database, champion_scorer(database, Place(database.path.parent), NOON), limit=limit, now=NOON
    )


def methods(database: DatabaseFile) -> dict[int, tuple[str, str]]:
    with database.read() as connection:
        rows = connection.execute("SELECT thread_id, model_version, method FROM scored_posts").fetchall()
        marked = connection.execute("SELECT thread_id, sentiment_model_version FROM thread_ops").fetchall()
    scored = {thread: (version, method) for thread, version, method in rows}
    assert {thread: version for thread, (version, _) in scored.items()} == dict(marked)
    return scored


def test_the_lexicon_speaks_until_another_model_earns_it(database: DatabaseFile) -> None:
    assert champion_scorer(database, Place(database.path.parent), NOON).model_version == LexiconScorer().model_version
    row = make_champion(database)
    assert champion_scorer(database, Place(database.path.parent), NOON).model_version == row.model_version


def test_posts_that_the_lexicon_scored_before_texts_were_cleaned_are_scored_again(database: DatabaseFile) -> None:
    text = "it’s over, the “moon” is a scam…"
    post(database, {1: text})
    with database.write() as connection:
        ensure_lexicon_champion(connection, "lexicon-e3bd6e42", "0", NOON)
        save_scores(connection, "lexicon-e3bd6e42", [ScoredPost(1, 0.3, 0.5, 0.2, -0.1, 0.1, "lexicon")], [], NOON)
    assert tick(database).scored == 1
    with database.read() as connection:
        rows = connection.execute("SELECT op_text_clean, sentiment_score FROM thread_ops").fetchall()
    plain = 'it\'s over, the "moon" is a scam...'
    assert rows == [(text, LexiconScorer().score([Post("", plain)])[0].score)]


def test_a_trained_champion_scores_posts_and_what_they_say_of_coins(database: DatabaseFile) -> None:
    row = make_champion(database)
    post(database, {1: "sell it all now", 2: MENTIONS})
    assert set(tick(database).methods) == {"tfidf"}
    assert methods(database) == {1: (row.model_version, "tfidf"), 2: (row.model_version, "tfidf")}
    with database.read() as connection:
        mentions = connection.execute("SELECT model_version, coin_symbol FROM scored_mentions ORDER BY ALL").fetchall()
    assert mentions == [(row.model_version, "BTC"), (row.model_version, "ETH")]


@pytest.mark.slow
def test_where_the_champion_cannot_run_the_lexicon_says_so_and_its_posts_are_scored_again(
    database: DatabaseFile, caplog: pytest.LogCaptureFixture
) -> None:
    row = make_champion(database)
    folder = database.path.parent / (row.path or "")
    away = folder.rename(folder.with_name("away"))
    post(database, {1: "sell it all now", 2: MENTIONS})
    with caplog.at_level(logging.WARNING):
        report = tick(database)
    fallback = f"lexicon (fallback for {row.model_version})"
    assert report.methods == {fallback: 2}
    assert len(caplog.records) == 1
    assert row.model_version in caplog.text
    assert methods(database) == dict.fromkeys((1, 2), (row.model_version, fallback))

    assert tick(database, None).scored == 0  # it still cannot: nothing is scored again and again
    post(database, {3: "we are so back"})
    assert tick(database).scored == 1

    away.rename(folder)
    assert tick(database).scored == 0  # nothing new: no model is loaded to see whether it could be
    post(database, {4: "we are so back"})
    assert tick(database).scored == 4
    assert methods(database) == dict.fromkeys((1, 2, 3, 4), (row.model_version, "tfidf"))
    assert tick(database, None).scored == 0


def test_corrupt_files_and_a_kind_that_needs_a_gpu_fall_back_too(
    database: DatabaseFile, caplog: pytest.LogCaptureFixture
) -> None:
    row = make_champion(database)
    weights = next((database.path.parent / (row.path or "")).glob("*.safetensors"))
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    post(database, {1: "sell it all now"})
    assert set(tick(database).methods) == {f"lexicon (fallback for {row.model_version})"}
    assert weights.name in caplog.text
    other = make_champion(database, kind="qlora")
    assert set(tick(database).methods) == {f"lexicon (fallback for {other.model_version})"}


def test_a_champion_whose_files_this_version_does_not_understand_falls_back_too(database: DatabaseFile) -> None:
    row = make_champion(database, vocabulary="{}")
    post(database, {1: "sell it all now"})
    assert set(tick(database).methods) == {f"lexicon (fallback for {row.model_version})"}


def test_a_champions_mentions_are_scored_again_with_their_post(database: DatabaseFile) -> None:
    row = make_champion(database)
    folder = database.path.parent / (row.path or "")
    away = folder.rename(folder.with_name("away"))
    post(database, {2: MENTIONS})
    tick(database)
    with database.read() as connection:
        before = connection.execute("SELECT coin_symbol, score FROM scored_mentions ORDER BY ALL").fetchall()
    away.rename(folder)
    tick(database, None)
    with database.read() as connection:
        after = connection.execute("SELECT coin_symbol, score FROM scored_mentions ORDER BY ALL").fetchall()
    assert [coin for coin, _ in after] == [coin for coin, _ in before]
    assert after != before


def test_a_tick_without_new_posts_loads_no_model(database: DatabaseFile) -> None:
    make_champion(database)
    script = (
        "import sys; from pathlib import Path; from datetime import datetime\n"
        "from bizcharts_pipeline.scoring.champion import champion_scorer\n"
        "from bizcharts_pipeline.scoring.new_posts import score_new_posts\n"
        "from bizcharts_pipeline.warehouse.database_file import DatabaseFile\n"
        "database = DatabaseFile(Path(sys.argv[1])); now = datetime(2026, 1, 2)\n"
        "from bizcharts_pipeline.scoring.place import Place\n"
        "scorer = champion_scorer(database, Place(database.path.parent), now)\n"
        "assert score_new_posts(database, scorer, limit=500, now=now).scored == 0\n"
        "heavy = {'sklearn', 'scipy', 'torch', 'safetensors', 'onnxruntime', 'bizcharts_pipeline.sentiment.loading'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(database.path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "[]\n"


def test_a_lexicon_that_was_trained_here_is_not_displaced_by_the_programs_own(database: DatabaseFile) -> None:
    row = replace(make_champion(database), kind="lexicon")
    with database.write() as connection:
        connection.execute("UPDATE model_versions SET kind = 'lexicon'")
    assert champion_scorer(database, Place(database.path.parent), NOON).model_version == row.model_version
