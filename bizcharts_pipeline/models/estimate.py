"""Estimate of the text models' quality on unseen posts, from labels alone.

    python -m bizcharts_pipeline.models.estimate LABELS.jsonl [--seeds 5] [--hold-outs 20] [--setfit]

A line of the file holds ``thread_id``, ``posted_at``, ``sentiment_rating`` (1 bearish, 2 neutral, 3 bullish),
``subject``, ``text_snapshot`` and ``image_url_snapshot``; skipped posts are left out. Prints means over seeds of a
cross-validation by complete groups of near-duplicates, and over random fifths of the groups that are held out, with the
standard deviations; and the metrics of a model trained on all months but the last and evaluated on the last. Each model
is trained, calibrated, published, checked and loaded as in production; no text is encoded twice but by SetFit, which
takes half an hour per seed. If ``[ml.transfer]`` names a file, the ensemble is also estimated with its feature.

Manually held-out posts may be harder than the folds: the recipes were chosen by the same folds.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
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
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.training.recipe import Recipe, TextExample
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.fitting import FOLDS
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.minilm import MinilmRecipe
from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe
from bizcharts_pipeline.training.recipes.transfer import Transfer

Split = tuple[list[int], list[int]]  # indices of training posts and of test posts


@dataclass(frozen=True)
class Figures:
    """Metrics of one recipe on unseen posts."""

    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float


def read_examples(path: Path) -> list[TextExample]:
    """Read the rated posts of a JSONL file, on which the text models' quality is estimated."""
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
    """Yield the folds of one cross-validation of a text model; near-duplicates of a post stay together."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = [example.label for example in examples], [example.group for example in examples]
    for known, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups):
        yield known.tolist(), test.tolist()


def hold_outs(examples: Sequence[TextExample], times: int) -> Iterator[Split]:
    """Yield splits for the evaluation of a text model, of which a random fifth of the groups of near-duplicates is
    held out."""
    from sklearn.model_selection import GroupShuffleSplit

    groups = [example.group for example in examples]
    for known, test in GroupShuffleSplit(times, test_size=1 / FOLDS, random_state=0).split(groups, groups=groups):
        yield known.tolist(), test.tolist()


def last_month(examples: Sequence[TextExample]) -> Split:
    """Return a split for the evaluation of a text model: all months but the last, without copies of its posts, and the
    last; undated posts are in neither."""
    months = [example.posted_at and (example.posted_at.year, example.posted_at.month) for example in examples]
    last = max(month for month in months if month)
    test = [i for i, month in enumerate(months) if month == last]
    copies = {examples[i].group for i in test}
    return [i for i, month in enumerate(months) if month and examples[i].group not in copies], test


def figures(
    recipe: Recipe, examples: Sequence[TextExample], splits: Sequence[Split], seed: int, vectors: Path | None = None
) -> Figures:
    """Return the metrics of a text model's recipe over the test posts of all splits together.

    ``vectors``: the home in which vectors of texts are kept; ``None``: they are not kept.
    """
    scores: list[Score] = []
    truth: list[int] = []
    for known, test in splits:
        scores += _scores(recipe, [examples[i] for i in known], [examples[i].post for i in test], seed, vectors)
        truth += [examples[i].label for i in test]
    given = [
        (score.p_bearish, score.p_neutral, score.p_bullish)[label] for score, label in zip(scores, truth, strict=True)
    ]
    evaluation = evaluate(scores, truth)
    log_loss = -statistics.fmean(math.log(p) for p in given)
    return Figures(evaluation.accuracy, evaluation.macro_f1, log_loss, evaluation.ece)


def _scores(
    recipe: Recipe, known: Sequence[TextExample], test: Sequence[ReadPost], seed: int, vectors: Path | None
) -> list[Score]:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        artifact = fit_and_publish(recipe, known, "estimate", home, seed)
        return load_scorer(model_path(home, artifact.model_version), artifact.sha256, vectors).score(test)


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


def _recipes(examples: Sequence[TextExample], home: Path, setfit: bool) -> dict[str, Recipe]:
    recipes: dict[str, Recipe] = {
        "lexicon_refit": LexiconRecipe(),
        "tfidf": TfidfRecipe(),
        "minilm": MinilmRecipe(home=home),
        "ensemble": EnsembleRecipe(home=home),
    }
    settings = load_settings().ml.transfer
    if settings.file:
        known = [Post(each.thread_id, each.posted_at, each.post.subject, each.post.text, None) for each in examples]
        recipes["ensemble, transfer"] = EnsembleRecipe(home=home, transfer=Transfer(settings, lambda: known))
    return recipes | ({"setfit": SetFitRecipe()} if setfit else {})


def main() -> None:
    """Train and evaluate the text models, and print the estimates of their quality."""
    parser = argparse.ArgumentParser(description="Estimate the text models' accuracy on unseen posts.")
    parser.add_argument("labels", type=Path, help="JSONL of rated posts")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions of the cross-validation")
    parser.add_argument("--hold-outs", type=int, default=20, help="random fifths that are held out")
    parser.add_argument("--setfit", action="store_true", help="SetFit too, with one seed: half an hour")
    arguments = parser.parse_args()
    examples = read_examples(arguments.labels)
    last = last_month(examples)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        recipes = _recipes(examples, home, arguments.setfit)

        def estimated(kind: str, seed: int, splits: Sequence[Split]) -> Figures:
            return figures(recipes[kind], examples, splits, seed, home)

        def table(title: str, estimates: Callable[[str], list[Figures]]) -> None:
            header = "accuracy | macro-F1 | log loss | ECE |\n|---|---|---|---|---|"
            print(f"\n{title}:\n| recipe | {header}")  # noqa: T201
            for kind in recipes:
                print(_line(kind, estimates(kind)), flush=True)  # noqa: T201

        def cross_validated(kind: str) -> list[Figures]:
            seeds = range(1 if kind == "setfit" else arguments.seeds)
            return [estimated(kind, seed, list(folds(examples, seed))) for seed in seeds]

        def held_out(kind: str) -> list[Figures]:
            splits = hold_outs(examples, 1 if kind == "setfit" else arguments.hold_outs)
            return [estimated(kind, seed, [split]) for seed, split in enumerate(splits)]

        table(f"{len(examples)} posts. Cross-validation, {FOLDS} folds, {arguments.seeds} seeds", cross_validated)
        table(f"A fifth held out, {arguments.hold_outs} times", held_out)
        title = f"Trained on {len(last[0])} posts of earlier months, evaluated on {len(last[1])} of the last"
        table(title, lambda kind: [estimated(kind, 0, [last])])


if __name__ == "__main__":
    main()
