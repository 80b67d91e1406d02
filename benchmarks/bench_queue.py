"""The label queue: time and memory with a million opening posts, and the number of labels that it saves.

    python -m benchmarks queue

The second part simulates labelling on posts with known ratings: see ``label_simulation.py``. It is skipped if they are
missing (``BIZCHARTS_SHARED_DATA``, default ``../shared/data``).
"""

import csv
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench_big import NOW, Timed, build
from benchmarks.bench_text import LABELS as RATED_POSTS
from benchmarks.label_simulation import simulate
from benchmarks.measure import Row, alternated, peak_bytes, ratio
from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.labels.queue import build_queue
from bizcharts_pipeline.sentiment.fit_lexicon import read_labels
from bizcharts_pipeline.settings import ActiveLearningSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

POSTS = 1_000_000
LABELS = 1_000
ROUNDS = 3

_TEXTS = (
    "SELECT concat_ws(chr(10), subject, op_text_clean) FROM thread_ops USING SAMPLE reservoir({} ROWS) REPEATABLE (1)"
)


def rows() -> Iterator[Row]:
    """Yield every figure; takes some minutes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        build(home / "big.duckdb", POSTS)
        for labels in (0, LABELS):
            label_some(home, labels)
            figures = measured(home)
            note = f"{POSTS:,} posts, {labels:,} labels, margins of {figures['model']}"
            over = ratio(figures["seconds"], figures["floor"])
            name = f"building the queue, {labels:,} labels"
            yield name, median(figures["seconds"]), "s", f"{note}; over its lower bound", over
            yield "peak memory of the process", figures["peak_bytes"] / 1e6, "MB", "goal: below 1,500"
            yield "longest database lock hold", figures["longest_turn"], "s", "blocks other processes"
    yield from simulated()


def simulated() -> Iterator[Row]:
    """Yield each strategy's results on labelled posts, and the gain over random selection.

    Opening posts of /biz/ with one rater, then news with several raters, which shows the effect of the board's own
    noise.
    """
    if not RATED_POSTS.exists():
        return
    sets = (("/biz/", _board(), 40, 0.9), ("crypto news", _crypto(), 20, 0.7), ("finance news", _news(), 20, 0.7))
    for name, rated, rounds, goal in sets:
        posts = [Post(number, None, None, text, None) for number, (text, _) in enumerate(rated)]
        groups = duplicate_groups(posts)
        texts, ratings = zip(*rated, strict=True)
        near = [groups[post.thread_id] for post in posts]
        for outcome in simulate(texts, ratings, near, rounds=rounds, goal=goal):
            points = ", ".join(f"{labels}: {figure:.3f}" for labels, figure in outcome.curve[::3])
            what = f"{name}, {outcome.strategy}"
            yield f"{what}: mean macro-F1", outcome.area, "", f"minus random {outcome.area_gain}; {points}"
            gain = f"minus random {outcome.labels_to_goal_gain}; {len(rated):,} posts, {rounds} rounds"
            yield f"{what}: labels to {goal:.0%} of the result with all", outcome.labels_to_goal, "labels", gain


def _board() -> list[tuple[str, int]]:
    return [(f"{item.post.subject}\n{item.post.text}".strip(), item.label + 1) for item in read_labels(RATED_POSTS)]


def _crypto() -> list[tuple[str, int]]:
    with (RATED_POSTS.parent / "cryptolin_news.csv").open(encoding="utf-8-sig", newline="") as file:
        return [(row["news"], int(float(row["final_manual_labelling"])) + 2) for row in csv.DictReader(file)]


def _news() -> list[tuple[str, int]]:
    file = RATED_POSTS.parent / "financial_phrasebank_50agree.txt"
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    said = {"negative": 1, "neutral": 2, "positive": 3}
    return [(text, said[label.strip()]) for text, _, label in (line.rpartition("@") for line in lines) if text]


def label_some(home: Path, count: int) -> None:
    """Label ``count`` random posts."""
    rng = random.Random(count)
    threads = rng.sample(range(POSTS), count)
    long_ago = NOW - timedelta(days=30)
    LabelLedger(home / LEDGER).append([Label(thread, rng.choice((1, 2, 3)), "anon", long_ago) for thread in threads])


def measured(home: Path) -> dict[str, Any]:
    """Build the queue in its own process and return its figures."""
    command = [sys.executable, "-m", "benchmarks.bench_queue", str(home)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


def run(home: Path) -> dict[str, Any]:
    """Build the queue in this process, some times alternately with its lower bound.

    That is to draw as many texts from the database as are searched for uncertain ones, and to give them to
    scikit-learn's TF-IDF.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    database, settings, reports = Timed(home / "big.duckdb"), ActiveLearningSettings(), []

    def build_once() -> None:
        reports.append(build_queue(database, LabelLedger(home / LEDGER), settings, NOW))

    def draw_and_weigh() -> None:
        with DatabaseFile(database.path).read() as connection:
            texts = [text for (text,) in connection.execute(_TEXTS.format(settings.pool)).fetchall()]
        TfidfVectorizer(ngram_range=(1, 2), min_df=2).fit_transform(texts)

    seconds, floor = alternated(build_once, draw_and_weigh, rounds=ROUNDS)
    return {
        "seconds": seconds,
        "floor": floor,
        "longest_turn": max(database.turns),
        "peak_bytes": peak_bytes(),
        "model": reports[0].model,
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
