"""The queue: which posts people label next.

Half of it is where a model is unsure and the posts differ from each other; a quarter is drawn at random, the only
part that measures anything without bias; the rest is recent, or labelled before. docs/methodology.md has the rules.
Only what people said teaches the model that is unsure here, and never the gold split.
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
from bizcharts_pipeline.labels.noise import NoiseSearchMissing, doubtful_labels
from bizcharts_pipeline.labels.novelty import News
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

MIN_LABELS = 60  # of all three classes, before they can teach a model
DISPUTED_SHARE = 0.5  # of the relabels at most; the others are drawn, or self-agreement would look worse than it is
RELABEL_AFTER = timedelta(days=7)
SPARES = 0.5  # so many more are drawn at random, as some are copies of what is labelled


@dataclass(frozen=True)
class QueueReport:
    """What a queue was made of. ``groups`` is how many groups of near-duplicates nobody has labelled; ``model`` what
    the margins are of; ``margins`` minimum, quartiles and maximum over the uncertain posts."""

    strata: dict[Stratum, int]
    groups: int
    pool: int
    labels: int  # labelled posts that taught the model
    model: str
    margins: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Posts in the queue."""
        return sum(self.strata.values())


@dataclass(frozen=True)
class _Known:
    """The label ledger as the queue sees it."""

    truth: dict[int, Stance]
    barred: set[int]  # labelled or skipped by anybody, or gold
    once: list[int]  # one label, old enough, no flag, not gold: may be shown once more
    gold: set[int]
    salt: str


@dataclass(frozen=True)
class _Material:
    """What one look into the database gave."""

    draw: Draw
    posts: list[Post]
    scores: dict[int, tuple[float, float, float]]  # the champion's
    champion: str | None
    again: dict[int, int]  # thread to cluster
    said: dict[int, str]  # by trusted models


@dataclass(frozen=True)
class _Reading:
    """What a model makes of the posts."""

    place: dict[int, int]  # of each thread in ``terms`` and ``margin``
    terms: Matrix
    margin: Floats  # NaN: not known
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
    """Choose the posts to label next and write ``label_queue`` anew.

    The same labels, posts and seed give the same queue. Posts that people label while it is made stay in it: who
    serves the queue passes them over.
    """
    known = _known(ledger, settings, now - relabel_after)
    material = _look(database, known, settings, now)
    reading = _read(material, known, settings.seed)
    strata, looked_at = _choose(material, reading, known, settings)
    recent, again = max(1, material.draw.recent_groups), max(1, len(set(material.again.values())))
    # A copy that was drawn and not asked was drawn all the same.
    chance = {
        "random": looked_at["random"] / max(1, material.draw.groups),
        "recent": looked_at["recent"] / recent,
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
    """Return all posts so that each stratum is spread evenly: any beginning of the queue has about its shares."""
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
    # Labels are part of the salt: a draw that always took the lowest of the same tickets would favour newcomers.
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
        asked = {*draw.random, *draw.recent, *draw.pool, *draw.differing}
        posts = load_posts(connection, asked | known.barred)
        current = champion(connection)
        scores = stored_scores(connection, current.model_version, asked) if current else {}
        again = askable_again(connection, known.once)
        said = trusted_labels(connection, known.truth.keys() - known.gold)
    return _Material(draw, posts, scores, current.model_version if current else None, again, said)


def _read(material: _Material, known: _Known, seed: int) -> _Reading:
    """Fit the small model to what people said, where that is enough; else take the champion's scores."""
    posts = material.posts
    place = {post.thread_id: number for number, post in enumerate(posts)}
    terms = term_matrix([post.whole_text for post in posts])
    gold = [post for post in posts if post.thread_id in known.gold]
    labelled = [post for post in posts if post.thread_id in known.truth]
    kept_out = contaminated(labelled, gold) if gold else set()
    teaching = [post for post in labelled if post.thread_id not in kept_out]
    ratings = [RATINGS[known.truth[post.thread_id]] for post in teaching]
    if len(ratings) < MIN_LABELS or len(set(ratings)) < 3:
        margin = np.full(len(posts), np.nan)
        if material.scores:
            margin[[place[thread] for thread in material.scores]] = margins(np.array([*material.scores.values()]))
        return _Reading(place, terms, margin, material.champion or "none", 0, [], ())
    rows = terms[[place[post.thread_id] for post in teaching]]
    margin = margins(probabilities(rows, ratings, terms))
    groups = duplicate_groups(teaching)
    doubtful: list[int] = []
    notes: tuple[str, ...] = ()
    try:
        doubtful = doubtful_labels(rows, ratings, [groups[post.thread_id] for post in teaching], seed)
    except NoiseSearchMissing as missing:
        notes = (str(missing),)
    threads = [teaching[number].thread_id for number in doubtful]
    return _Reading(place, terms, margin, "people's labels", len(ratings), threads, notes)


def _wanted(settings: ActiveLearningSettings) -> dict[Stratum, int]:
    """Return how many posts are to be drawn, in whole posts."""
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
    """Return the posts of each stratum, in the order in which they are to be asked, and how many were looked at for
    those that are drawn."""
    draw, wanted, news = material.draw, _wanted(settings), News(material.posts, known.barred, known.gold)
    new = news.of([*draw.differing])
    differing = {thread: cluster for thread, cluster in draw.differing.items() if thread in new}
    again, disputed = _relabels(material, reading, known, differing, wanted["relabel"])
    fresh = news.of([*disputed, *draw.random, *draw.recent], always=disputed)
    random, random_looked_at = _first(draw.random, fresh, wanted["random"])
    recent, recent_looked_at = _first(draw.recent, fresh, wanted["recent"])
    drawn = {*random, *recent}
    rest = draw.pool | {thread: cluster for thread, cluster in (draw.random | draw.recent).items() if thread in fresh}
    taken = {differing[thread] for thread in disputed if thread in differing}
    free = [thread for thread, cluster in rest.items() if cluster not in taken and thread not in drawn]
    free = _unlike(material.posts, free)
    count = max(0, settings.size - len(random) - len(recent) - len(disputed) - len(again))
    unsure = sorted(free, key=lambda thread: _order(reading, thread))[: 2 * UNSURE_PER_POST * count]
    fresh = news.of([*disputed, *random, *recent, *unsure], always=[*disputed, *random, *recent])
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
    return strata, {"random": random_looked_at, "recent": recent_looked_at}


def _order(reading: _Reading, thread: int) -> float:
    margin = float(reading.margin[reading.place[thread]])
    return np.inf if np.isnan(margin) else margin


def _first(drawn: Iterable[int], fresh: set[int], count: int) -> tuple[list[int], int]:
    """Return the first ``count`` of the ``drawn`` threads that are ``fresh``, and how many were looked at for them."""
    found: list[int] = []
    looked_at = 0
    for thread in drawn:
        if len(found) == count:
            break
        looked_at += 1
        if thread in fresh:
            found.append(thread)
    return found, looked_at


def _relabels(
    material: _Material, reading: _Reading, known: _Known, differing: Mapping[int, int], count: int
) -> tuple[list[int], list[int]]:
    """Return what is labelled once more: posts drawn from all that may be, and disputed ones among what is left.

    How many are drawn hangs on how many disputes there are, and not on what is drawn: so each has the same chance.
    """
    tickets = _relabel_order(material.again, known.salt)
    disputed = _disputed(material, reading, known, differing)
    most = min(round(count * DISPUTED_SHARE), len(disputed))
    again = tickets[: count - most]
    taken = {material.again[thread] for thread in again}
    return again, [thread for thread, cluster in disputed.items() if cluster not in taken][:most]


def _unlike(posts: Sequence[Post], threads: Sequence[int]) -> list[int]:
    """Return the first of ``threads`` of each standing thread, and none of one that others of ``posts`` belong to."""
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
    """Return posts that two providers (``differing``), or a trusted model and people, label differently, or whose label
    is doubtful: by turns, one of each cluster; with their clusters."""
    against = [thread for thread, label in material.said.items() if known.truth[thread] != label]
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
