"""Pseudo-labels: posts that nobody labelled, with the class of which the champion is nearly certain.

They are training examples of the text models, and nothing else: no label, no gold, no evaluation, no calibration and no
count of labels includes them. Off by default: docs/training-data.md has what they were worth.

A champion that was refitted on all labels has learned gold too, and a model that learns from it would learn gold
indirectly. So the version that won, which saw no gold, has to be as certain of the same class. Posts that the champion
learned from are not chosen, as they would repeat its errors.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment import scorer
from bizcharts_pipeline.sentiment.artifact import training_posts
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.settings import ContinualSettings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.training.examples import PEOPLE, read_labelled
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, model
from bizcharts_pipeline.warehouse.scores import certain_posts

POOL = 2_000  # posts of which the champion is certain, drawn at random, that are looked at

Probabilities = tuple[float, float, float]  # bearish, neutral, bullish


def find_pseudo_labels(
    database: Database, home: Path, settings: ContinualSettings, *, spam_cut: float, seed: int
) -> dict[int, int]:
    """Return pseudo-labels by thread; none unless they are on and a trained model is the champion.

    Raises:
        LedgerLost: the label ledger lacks labels or gold that the database has.
        CorruptModel: the files of the version that won differ from the registered ones.
    """
    if not settings.pseudo_labels:
        return {}
    labelled = read_labelled(database, home)
    with database.read() as connection:
        present = champion(connection)
        if present is None or present.path is None:
            return {}
        winner = model(connection, present.refit_of) if present.refit_of else None
        given = certain_posts(
            connection,
            present.model_version,
            settings.pseudo_threshold,
            spam_cut=spam_cut,
            excluded_generals=sorted(NON_CRYPTO_GENERALS),
            limit=POOL,
        )
        known = labelled.judged.keys() | set(labelled.gold) | _learned_from(home, present)
        posts = load_posts(connection, given.keys() - known)
    copies = contaminated(posts, labelled.gold_posts)
    groups = duplicate_groups(posts)  # of copies of each other one is enough
    posts = [post for post in posts if post.thread_id not in copies and groups[post.thread_id] == post.thread_id]
    if winner:
        given = _agreeing(winner, home, posts, given)
    people = [verdict for verdict in labelled.judged.values() if verdict.stance and verdict.labelled_by == PEOPLE]
    return choose(
        {post.thread_id: given[post.thread_id] for post in posts if post.thread_id in given},
        [STANCES.index(verdict.stance) for verdict in people if verdict.stance],
        threshold=settings.pseudo_threshold,
        most=settings.pseudo_per_class,
        share=settings.pseudo_share,
        seed=seed,
    )


def choose(
    probabilities: Mapping[int, Probabilities],
    labelled: Iterable[int],
    *,
    threshold: float,
    most: int,
    share: float,
    seed: int,
) -> dict[int, int]:
    """Return the class of each thread chosen for training with a pseudo-label: those of which one class has at least
    ``threshold``.

    Of a class at most ``most`` are chosen, at random, and at most ``share`` of the people's labels of that class, which
    ``labelled`` lists: so the classes keep their shares.
    """
    counts = Counter(labelled)
    certain: dict[int, list[int]] = {}
    for thread, given in probabilities.items():
        if max(given) >= threshold:
            certain.setdefault(_likeliest(given), []).append(thread)
    return {
        thread: label
        for label, threads in certain.items()
        for thread in _draw(threads, min(most, int(share * counts[label])), seed)
    }


def _learned_from(home: Path, row: ModelVersion) -> set[int]:
    return {int(each["thread_id"]) for each in training_posts(home / str(row.path))}


def _agreeing(
    winner: ModelVersion, home: Path, posts: Sequence[Post], given: Mapping[int, Probabilities]
) -> dict[int, Probabilities]:
    """Return what ``winner`` says of the posts for which it has the class of ``given``."""
    read = [scorer.Post(post.subject or "", post.text or "", post.thread_id) for post in posts]
    scores = load_scorer(home / str(winner.path), winner.sha256 or "", home).score(read)
    said = {
        post.thread_id: (score.p_bearish, score.p_neutral, score.p_bullish)
        for post, score in zip(posts, scores, strict=True)
    }
    return {thread: its for thread, its in said.items() if _likeliest(its) == _likeliest(given[thread])}


def _likeliest(given: Probabilities) -> int:
    return given.index(max(given))


def _draw(threads: Sequence[int], count: int, seed: int) -> list[int]:
    return sorted(threads, key=lambda thread: hashlib.sha256(f"pseudo:{seed}:{thread}".encode()).digest())[:count]
