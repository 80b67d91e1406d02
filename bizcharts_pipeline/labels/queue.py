"""Builds the labelling queue.

Half of it are posts that a model is unsure of and that differ from each other; a quarter is drawn at random, the only
part that measures anything without bias; the rest is recent, or labelled before. docs/methodology.md has the rules. The
model is trained only on people's labels, and never on the gold split.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, zip_longest

import numpy as np

from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.labels.noise import NoNoiseSearch, doubtful_labels
from bizcharts_pipeline.labels.novelty import NoveltyFilter
from bizcharts_pipeline.labels.sampling import UNSURE_PER_POST, margins, unsure_and_diverse
from bizcharts_pipeline.labels.stances import RATINGS, Stance
from bizcharts_pipeline.labels.text_model import Floats, Matrix, duplicate_group, probabilities, term_matrix
from bizcharts_pipeline.labels.trust import majority
from bizcharts_pipeline.settings import ActiveLearningSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.label_queue import (
    Draw,
    QueuedPost,
    Stratum,
    askable_again,
    draw_posts,
    replace_queue,
    stored_scores,
)
from bizcharts_pipeline.warehouse.models import champion
from bizcharts_pipeline.warehouse.trust import trusted_labels

MIN_LABELS = 60  # of all three classes together, needed to train a model
DISPUTED_SHARE = 0.5  # maximum share of the relabels; the others are random, or self-agreement would be underestimated
RELABEL_AFTER = timedelta(days=7)
SPARES = 0.5  # share of additional random draws, because some are copies of labelled posts


@dataclass(frozen=True)
class QueueReport:
    """Composition of a queue.

    ``groups`` is the number of groups of near-duplicates without labels; ``model`` the source of the margins;
    ``margins`` minimum, quartiles and maximum over the uncertain posts.
    """

    strata: dict[Stratum, int]
    groups: int
    pool: int
    labels: int  # labelled posts that the model was trained on
    model: str
    margins: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of posts in the labelling queue."""
        return sum(self.strata.values())


@dataclass(frozen=True)
class _Known:
    """State of the label ledger."""

    truth: dict[int, Stance]
    barred: set[int]  # labelled or skipped by any labeller, or gold
    once: list[int]  # one label, old enough, no flag, not gold: may be shown again
    gold: set[int]
    salt: str


@dataclass(frozen=True)
class _Material:
    """Data read from the database."""

    draw: Draw
    posts: list[Post]
    scores: dict[int, tuple[float, float, float]]  # the champion's
    champion: str | None
    again: dict[int, int]  # thread to cluster
    trusted: dict[int, str]  # labels by trusted models


@dataclass(frozen=True)
class _Reading:
    """Scores of the posts by a model."""

    place: dict[int, int]  # row of each thread in ``terms`` and ``margin``
    terms: Matrix
    margin: Floats  # NaN: unknown
    model: str
    labels: int
    doubtful: list[int]  # threads whose label is probably wrong
    notes: tuple[str, ...]


def build_queue(
    database: Database,
    ledger: LabelLedger,
    settings: ActiveLearningSettings,
    now: datetime,
    *,
    relabel_after: timedelta = RELABEL_AFTER,
) -> QueueReport:
    """Choose the posts to label next and replace ``label_queue``.

    The same labels, posts and seed give the same queue. Posts labelled while it is built stay in it; the labelling page
    skips them.
    """
    known = _known(ledger, settings, now - relabel_after)
    material = _look(database, known, settings, now)
    reading = _read(material, known, settings.seed)
    strata, examined = _choose(material, reading, known, settings)
    recent, again = max(1, material.draw.recent_groups), max(1, len(set(material.again.values())))
    # Copies that were drawn and dropped count as drawn.
    chance = {
        "random": examined["random"] / max(1, material.draw.groups),
        "recent": examined["recent"] / recent,
        "relabel": len(strata["relabel"]) / again,
    }
    queue = [
        QueuedPost(position, thread, stratum, chance.get(stratum), _margin(reading, thread))
        for position, (stratum, thread) in enumerate(interleave(strata), start=1)
    ]
    with database.write() as connection:
        replace_queue(connection, queue, now)
    unsure = [post.margin for post in queue if post.stratum == "uncertain" and post.margin is not None]
    return QueueReport(
        strata={stratum: len(threads) for stratum, threads in strata.items()},
        groups=material.draw.groups,
        pool=len(material.draw.pool),
        labels=reading.labels,
        model=reading.model,
        margins=tuple(float(q) for q in np.quantile(unsure, (0, 0.25, 0.5, 0.75, 1))) if unsure else (),
        notes=reading.notes,
    )


def interleave(strata: Mapping[Stratum, Sequence[int]]) -> list[tuple[Stratum, int]]:
    """Return the posts of the labelling queue with each stratum spread evenly, so that every prefix of it has about its
    shares.
    """
    places = [
        ((number + 0.5) / len(threads), order, stratum, thread)
        for order, (stratum, threads) in enumerate(strata.items())
        for number, thread in enumerate(threads)
    ]
    return [(stratum, thread) for _, _, stratum, thread in sorted(places)]


def _known(ledger: LabelLedger, settings: ActiveLearningSettings, labelled_until: datetime) -> _Known:
    newest, standing = ledger.newest(), ledger.standing()
    gold = {post.thread_id for post in ledger.gold()}
    decisions: dict[int, list[Label]] = {}
    for label in standing:
        decisions.setdefault(label.thread_id, []).append(label)
    once = [
        thread
        for thread, (first, *others) in sorted(decisions.items())
        if not others and not first.skipped and not first.flag and first.labeled_at <= labelled_until
    ]
    # The labels are part of the salt: with constant tickets, new posts would be drawn preferentially.
    salt = hashlib.sha256(f"{settings.seed}:{ledger.count()}:{len(standing)}".encode()).hexdigest()
    return _Known(
        truth=majority(newest),
        barred={label.thread_id for label in newest} | gold,
        once=[thread for thread in once if thread not in gold],
        gold=gold,
        salt=salt,
    )


def _look(database: Database, known: _Known, settings: ActiveLearningSettings, now: datetime) -> _Material:
    with database.read() as connection:
        draw = draw_posts(
            connection,
            barred=known.barred,
            salt=known.salt,
            random=_with_spares(_wanted(settings)["random"]),
            recent=_with_spares(_wanted(settings)["recent"]),
            recent_after=now - timedelta(days=settings.recent_days),
            pool=settings.pool,
            differing=round(settings.size * settings.relabel_share),
        )
        candidates = {*draw.random, *draw.recent, *draw.pool, *draw.differing}
        posts = load_posts(connection, candidates | known.barred)
        current = champion(connection)
        scores = stored_scores(connection, current.model_version, candidates) if current else {}
        again = askable_again(connection, known.once)
        trusted = trusted_labels(connection, known.truth.keys() - known.gold)
    return _Material(draw, posts, scores, current.model_version if current else None, again, trusted)


def _read(material: _Material, known: _Known, seed: int) -> _Reading:
    """Fit the small model to people's labels if there are enough; otherwise use the champion's scores."""
    posts = material.posts
    place = {post.thread_id: number for number, post in enumerate(posts)}
    terms = term_matrix([post.whole_text for post in posts])
    gold = [post for post in posts if post.thread_id in known.gold]
    labelled = [post for post in posts if post.thread_id in known.truth]
    excluded = contaminated(labelled, gold) if gold else set()
    training = [post for post in labelled if post.thread_id not in excluded]
    ratings = [RATINGS[known.truth[post.thread_id]] for post in training]
    if len(ratings) < MIN_LABELS or len(set(ratings)) < 3:
        margin = np.full(len(posts), np.nan)
        if material.scores:
            margin[[place[thread] for thread in material.scores]] = margins(np.array([*material.scores.values()]))
        return _Reading(place, terms, margin, material.champion or "none", 0, [], ())
    rows = terms[[place[post.thread_id] for post in training]]
    margin = margins(probabilities(rows, ratings, terms))
    groups = duplicate_groups(training)
    doubtful: list[int] = []
    notes: tuple[str, ...] = ()
    try:
        doubtful = doubtful_labels(rows, ratings, [groups[post.thread_id] for post in training], seed)
    except NoNoiseSearch as missing:
        notes = (str(missing),)
    threads = [training[number].thread_id for number in doubtful]
    return _Reading(place, terms, margin, "people's labels", len(ratings), threads, notes)


def _wanted(settings: ActiveLearningSettings) -> dict[Stratum, int]:
    """Return the number of posts to draw per stratum."""
    return {
        "random": round(settings.size * settings.random_share),
        "recent": round(settings.size * settings.recent_share),
        "relabel": round(settings.size * settings.relabel_share),
    }


def _with_spares(count: int) -> int:
    return count + round(count * SPARES) + (count > 0)


def _choose(
    material: _Material, reading: _Reading, known: _Known, settings: ActiveLearningSettings
) -> tuple[dict[Stratum, list[int]], dict[Stratum, int]]:
    """Return the posts of each stratum in labelling order, and the numbers of posts examined for the drawn strata."""
    draw, wanted, novelty = material.draw, _wanted(settings), NoveltyFilter(material.posts, known.barred, known.gold)
    new = novelty.new_among([*draw.differing])
    differing = {thread: cluster for thread, cluster in draw.differing.items() if thread in new}
    again, disputed = _relabels(material, reading, known, differing, wanted["relabel"])
    fresh = novelty.new_among([*disputed, *draw.random, *draw.recent], always=disputed)
    random, random_examined = _first(draw.random, fresh, wanted["random"])
    recent, recent_examined = _first(draw.recent, fresh, wanted["recent"])
    drawn = {*random, *recent}
    rest = draw.pool | {thread: cluster for thread, cluster in (draw.random | draw.recent).items() if thread in fresh}
    taken = {differing[thread] for thread in disputed if thread in differing}
    free = [thread for thread, cluster in rest.items() if cluster not in taken and thread not in drawn]
    free = _without_recurring(material.posts, free)
    count = max(0, settings.size - len(random) - len(recent) - len(disputed) - len(again))
    unsure = sorted(free, key=lambda thread: _order(reading, thread))[: 2 * UNSURE_PER_POST * count]
    fresh = novelty.new_among([*disputed, *random, *recent, *unsure], always=[*disputed, *random, *recent])
    free = [thread for thread in unsure if thread in fresh]
    places = np.array([reading.place[thread] for thread in free], np.int64)
    chosen = unsure_and_diverse(reading.margin[places], reading.terms[places], count, settings.seed)
    strata: dict[Stratum, list[int]] = {
        "uncertain": [free[number] for number in chosen],
        "random": random,
        "recent": recent,
        "relabel": again,
        "disputed": disputed,
    }
    return strata, {"random": random_examined, "recent": recent_examined}


def _order(reading: _Reading, thread: int) -> float:
    margin = float(reading.margin[reading.place[thread]])
    return np.inf if np.isnan(margin) else margin


def _first(drawn: Iterable[int], fresh: set[int], count: int) -> tuple[list[int], int]:
    """Return the first ``count`` of the ``drawn`` threads that are ``fresh``, and the number of threads examined for
    them.
    """
    found: list[int] = []
    examined = 0
    for thread in drawn:
        if len(found) == count:
            break
        examined += 1
        if thread in fresh:
            found.append(thread)
    return found, examined


def _relabels(
    material: _Material, reading: _Reading, known: _Known, differing: Mapping[int, int], count: int
) -> tuple[list[int], list[int]]:
    """Return the posts to relabel: a random sample of the eligible ones, and disputed ones among the rest.

    The size of the sample depends on the number of disputes, not on the sample, so each post has the same chance.
    """
    tickets = _relabel_order(material.again, known.salt)
    disputed = _disputed(material, reading, known, differing)
    most = min(round(count * DISPUTED_SHARE), len(disputed))
    again = tickets[: count - most]
    taken = {material.again[thread] for thread in again}
    return again, [thread for thread, cluster in disputed.items() if cluster not in taken][:most]


def _without_recurring(posts: Sequence[Post], threads: Sequence[int]) -> list[int]:
    """Return the first of ``threads`` of each recurring thread, and none that recurs among the other ``posts``."""
    candidates = set(threads)
    group = {post.thread_id: duplicate_group(post.whole_text) or str(post.thread_id) for post in posts}
    seen = {name for thread, name in group.items() if thread not in candidates}
    first: dict[str, int] = {}
    for thread in threads:
        if group[thread] not in seen:
            first.setdefault(group[thread], thread)
    return list(first.values())


def _relabel_order(again: Mapping[int, int], salt: str) -> list[int]:
    """Return one labelled post of each cluster, in random order."""
    first: dict[int, int] = {}
    for thread in sorted(again):
        first.setdefault(again[thread], thread)
    return sorted(first.values(), key=lambda thread: hashlib.sha256(f"{salt}:{thread}".encode()).digest())


def _disputed(material: _Material, reading: _Reading, known: _Known, differing: Mapping[int, int]) -> dict[int, int]:
    """Return posts with conflicting or doubtful labels, with their clusters; one per cluster, alternating between the
    kinds.

    Conflicts are between two providers (``differing``), or between a trusted model and people.
    """
    against = [thread for thread, label in material.trusted.items() if known.truth[thread] != label]
    labelled = [[t for t in threads if t in material.again] for threads in (against, reading.doubtful)]
    clusters = {**differing, **material.again}
    first: dict[int, int] = {}
    for thread in chain.from_iterable(zip_longest(differing, *labelled)):
        if thread is not None:
            first.setdefault(clusters[thread], thread)
    return {thread: cluster for cluster, thread in first.items()}


def _margin(reading: _Reading, thread: int) -> float | None:
    place = reading.place.get(thread)
    return None if place is None or np.isnan(reading.margin[place]) else float(reading.margin[place])
