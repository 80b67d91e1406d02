"""Estimate of the text models' quality on unseen posts, from labels alone.

    python -m bizcharts_pipeline.models.estimate LABELS.jsonl [--seeds 5] [--setfit]

A line of the file holds ``thread_id``, ``posted_at``, ``sentiment_rating`` (1 bearish, 2 neutral, 3 bullish),
``subject``, ``text_snapshot`` and ``image_url_snapshot``; skipped posts are left out. Prints means over seeds of a
cross-validation by complete groups of near-duplicates, with the standard deviation between seeds, and the metrics of a
model trained on all months but the last and evaluated on the last. Each model is trained, calibrated, published,
checked and loaded as in production, so SetFit takes half an hour per seed; the others take five minutes together.

Manually held-out posts may be harder than the folds: the recipes were chosen by the same folds.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bizcharts_pipeline.labels.corpus import Picture, Post
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment.artifact import model_path
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post as ReadPost
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.training.recipe import Recipe, TextExample
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.fitting import FOLDS
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.minilm import MinilmRecipe
from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe

Split = tuple[list[int], list[int]]  # indices of training posts and of test posts


@dataclass(frozen=True)
class Figures:
    """Metrics of one recipe on unseen posts."""

    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float


def read_examples(path: Path) -> list[TextExample]:
    """Read the rated posts of a JSONL file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [row for row in rows if not row.get("skipped") and row["sentiment_rating"] in (1, 2, 3)]
    posts = [
        Post(row["thread_id"], _when(row["posted_at"]), row["subject"], row["text_snapshot"], _picture(row))
        for row in rows
    ]
    groups = duplicate_groups(posts)
    return [
        TextExample(
            post.thread_id,
            post.posted_at,
            ReadPost(post.subject or "", post.text or ""),
            row["sentiment_rating"] - 1,
            groups[post.thread_id],
        )
        for post, row in zip(posts, rows, strict=True)
    ]


def folds(examples: Sequence[TextExample], seed: int) -> Iterator[Split]:
    """Yield the folds of one cross-validation; duplicates stay together."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = [example.label for example in examples], [example.group for example in examples]
    for known, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups):
        yield known.tolist(), test.tolist()


def last_month(examples: Sequence[TextExample]) -> Split:
    """Return all months but the last, without copies of its posts, and the last; undated posts are in neither."""
    months = [example.posted_at and (example.posted_at.year, example.posted_at.month) for example in examples]
    last = max(month for month in months if month)
    test = [i for i, month in enumerate(months) if month == last]
    copies = {examples[i].group for i in test}
    return [i for i, month in enumerate(months) if month and examples[i].group not in copies], test


def figures(recipe: Recipe, examples: Sequence[TextExample], splits: Sequence[Split], seed: int) -> Figures:
    """Return the metrics of a recipe over the test posts of all splits together."""
    scores: list[Score] = []
    truth: list[int] = []
    for known, test in splits:
        scores += _scores(recipe, [examples[i] for i in known], [examples[i].post for i in test], seed)
        truth += [examples[i].label for i in test]
    given = [
        (score.p_bearish, score.p_neutral, score.p_bullish)[label] for score, label in zip(scores, truth, strict=True)
    ]
    evaluation = evaluate(scores, truth)
    log_loss = -statistics.fmean(math.log(p) for p in given)
    return Figures(evaluation.accuracy, evaluation.macro_f1, log_loss, evaluation.ece)


def _scores(recipe: Recipe, known: Sequence[TextExample], test: Sequence[ReadPost], seed: int) -> list[Score]:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        artifact = fit_and_publish(recipe, known, "estimate", home, seed)
        return load_scorer(model_path(home, artifact.model_version), artifact.sha256).score(test)


def _line(name: str, runs: Sequence[Figures]) -> str:
    cells = [[getattr(run, field) for run in runs] for field in ("accuracy", "macro_f1", "log_loss", "ece")]
    texts = [
        f"{statistics.fmean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
        for values in cells
    ]
    return f"| {name} | {' | '.join(texts)} |"


def _when(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _picture(row: dict[str, str | None]) -> Picture | None:
    url = row.get("image_url_snapshot")
    return Picture(url, *[None] * 6) if url else None


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description="Estimate the text models' accuracy on unseen posts.")
    parser.add_argument("labels", type=Path, help="JSONL of rated posts")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions of the cross-validation")
    parser.add_argument("--setfit", action="store_true", help="SetFit too, with one seed: half an hour")
    arguments = parser.parse_args()
    examples = read_examples(arguments.labels)
    recipes: list[Recipe] = [LexiconRecipe(), TfidfRecipe(), MinilmRecipe(), EnsembleRecipe()]
    header = "accuracy | macro-F1 | log loss | ECE |\n|---|---|---|---|---|"
    print(f"{len(examples)} posts. Cross-validation, {FOLDS} folds, {arguments.seeds} seeds:")  # noqa: T201
    print(f"| recipe | {header}")  # noqa: T201
    for recipe in recipes + ([SetFitRecipe()] if arguments.setfit else []):
        seeds = range(1 if recipe.kind == "setfit" else arguments.seeds)
        runs = [figures(recipe, examples, list(folds(examples, seed)), seed) for seed in seeds]
        print(_line(recipe.kind, runs), flush=True)  # noqa: T201
    split = last_month(examples)
    print(f"\nTrained on {len(split[0])} posts of earlier months, evaluated on {len(split[1])} of the last:")  # noqa: T201
    print(f"| recipe | {header}")  # noqa: T201
    for recipe in recipes + ([SetFitRecipe()] if arguments.setfit else []):
        print(_line(recipe.kind, [figures(recipe, examples, [split], 0)]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
