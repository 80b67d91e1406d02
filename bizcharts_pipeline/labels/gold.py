"""The gold split: posts labelled by people that are never used for training, frozen by thread id.

Drawn at random within each labelled period (UTC month of the post), in proportion to the period's labelled posts, and
by complete groups of near-duplicates. The order of the draw is a hash of seed and group, so it depends only on which
posts are labelled. Drawn posts stay: the split grows and never shrinks or changes. Rules:

- At most a quarter of a period's labelled posts are gold, so that enough are left for training. 150 gold posts need 600
  labelled ones; with fewer than 40 labelled posts there is no gold.
- A new period gets its share in addition to the frozen posts, so the split may outgrow its size as months are added.
- A post that was labelled because a model was unsure of it is not a random post, and never gold.
- Nor is a post whose labels were all made with a model's suggestion visible, or one of unknown content.

As the split grows, a post may have been used for training before it became gold: evaluate a model on the gold that was
frozen before its training.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.labels.corpus import Picture, Post, load_posts
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labelled import stored_gold

LABELLED_PER_GOLD = 4
MIN_GOLD_POSTS = 10
# A text that is posted repeatedly must not dominate the test; its copies may be used for training.
LARGEST_GROUP = 0.1  # of the split
CHOSEN_STRATA = {"uncertain", "disputed"}  # of `label_queue`: selected by a model, not at random
UNKNOWN_PERIOD = "unknown"


@dataclass(frozen=True)
class PeriodReport:
    """One labelled period. ``share`` is the target number of gold posts; earlier draws may exceed it."""

    period: str
    labelled: int
    share: int
    gold: int


@dataclass(frozen=True)
class GoldReport:
    """Result of a draw: numbers of new and of all gold posts."""

    drawn: int
    gold: int
    labelled: int  # eligible posts
    periods: tuple[PeriodReport, ...]


def extend_gold(database: Database, ledger: LabelLedger, settings: LabellingSettings, now: datetime) -> GoldReport:
    """Draw the missing gold posts and freeze them in the ledger; without new labels, a repetition draws nothing.

    Posts are looked up in the database, so materialise labels first. Posts of which neither text nor picture is known
    there are not drawn: copies of them in a data set could not be detected.
    """
    candidates = eligible(ledger.standing())
    frozen = ledger.gold()
    gold_threads = {post.thread_id for post in frozen}
    with database.read() as connection:
        posts = load_posts(connection, candidates | gold_threads)
    gold_posts = [post for post in posts if post.thread_id in gold_threads]
    labelled = [post for post in posts if post.thread_id in candidates and _has_content(post)]
    shares = _shares(Counter(map(period, labelled)), settings.gold_posts)
    rated = {label.thread_id for label in ledger.newest() if not label.skipped}
    have = Counter(post.period for post in frozen if post.thread_id in rated)  # a post without a label does not count
    taken = contaminated(labelled, gold_posts)
    drawn = _draw([post for post in labelled if post.thread_id not in taken], shares, have, settings)
    ledger.freeze_gold([GoldPost(post.thread_id, period(post), now) for post in drawn])
    return _report(labelled, shares, ledger.gold(), len(drawn))


def eligible(standing: Iterable[Label]) -> set[int]:
    """Return the threads that may become gold: rated by a person without a visible suggestion, not flagged as illegal,
    and not selected by a model.
    """
    first: dict[int, Label] = {}
    newest: dict[tuple[int, str], Label] = {}
    labels = list(standing)
    for label in labels:
        key = (label.thread_id, label.labeler_id)
        if key not in newest or newest[key].labeled_at <= label.labeled_at:
            newest[key] = label
        if label.thread_id not in first or label.labeled_at < first[label.thread_id].labeled_at:
            first[label.thread_id] = label
    rated = {thread_id for (thread_id, _), label in newest.items() if not label.skipped and not label.suggestion}
    drawable = rated - flagged_illegal(labels)
    return {thread_id for thread_id in drawable if first[thread_id].stratum not in CHOSEN_STRATA}


def flagged_illegal(standing: Iterable[Label]) -> set[int]:
    """Return the threads that a standing label flags as illegal."""
    return {label.thread_id for label in standing if label.flag == "illegal"}


def known_gold(connection: duckdb.DuckDBPyConnection, ledger: LabelLedger) -> set[int]:
    """Return the threads of the gold split in the ledger or the database."""
    return {post.thread_id for post in ledger.gold()} | {thread_id for thread_id, *_ in stored_gold(connection)}


def gold_content(posts: Iterable[Post], gold: Collection[int], ledger: LabelLedger) -> list[Post]:
    """Return each gold post with known content: from ``posts``, else from its labels' snapshots."""
    known = {post.thread_id: post for post in posts if post.thread_id in gold}
    seen = {
        label.thread_id: Post(
            label.thread_id, label.posted_at, label.subject_snapshot, label.text_snapshot, _picture_seen(label)
        )
        for label in ledger.all()
        if label.thread_id in gold and (label.text_snapshot or label.subject_snapshot or label.image_url_snapshot)
    }
    found = seen | {thread_id: post for thread_id, post in known.items() if _has_content(post)}
    return [found[thread_id] for thread_id in sorted(found)]


def _has_content(post: Post) -> bool:
    return bool(post.whole_text or post.picture)


def _picture_seen(label: Label) -> Picture | None:
    return Picture(label.image_url_snapshot, *[None] * 6) if label.image_url_snapshot else None


def period(post: Post) -> str:
    """Return the UTC month of a gold post, such as 2025-10."""
    return f"{post.posted_at:%Y-%m}" if post.posted_at else UNKNOWN_PERIOD


def _shares(labelled: Mapping[str, int], gold_posts: int) -> dict[str, int]:
    """Divide the split among the periods in proportion to their labelled posts, by largest remainders.

    Each period gets at least one post if it has enough labels for one, and at most a quarter of its labels.
    """
    total = sum(labelled.values())
    size = min(gold_posts, total // LABELLED_PER_GOLD)
    if size < MIN_GOLD_POSTS:
        return dict.fromkeys(labelled, 0)
    shares = {name: size * count // total for name, count in labelled.items()}
    by_remainder = sorted(labelled, key=lambda name: (-(size * labelled[name] % total), name))
    for name in by_remainder[: size - sum(shares.values())]:
        shares[name] += 1
    return {name: min(max(share, 1), labelled[name] // LABELLED_PER_GOLD) for name, share in shares.items()}


def _draw(
    posts: Sequence[Post], shares: Mapping[str, int], have: Mapping[str, int], settings: LabellingSettings
) -> list[Post]:
    """Return the posts to freeze. A group that exceeds what its periods lack is left for a later draw."""
    members = defaultdict(list)
    founders = duplicate_groups(posts)
    for post in posts:
        members[founders[post.thread_id]].append(post)
    largest = max(1, LARGEST_GROUP * sum(shares.values()))
    count = Counter(have)
    drawn: list[Post] = []
    for founder in sorted(members, key=lambda thread_id: _lot(settings.gold_seed, thread_id)):
        group = sorted(members[founder], key=lambda post: post.thread_id)
        wanted = Counter(map(period, group))
        if len(group) <= largest and all(wanted[name] <= shares[name] - count[name] for name in wanted):
            drawn += group
            count += wanted
    return drawn


def _lot(seed: int, founder: int) -> bytes:
    return hashlib.sha256(f"{seed}:{founder}".encode()).digest()


def _report(labelled: Sequence[Post], shares: Mapping[str, int], gold: Sequence[GoldPost], drawn: int) -> GoldReport:
    counts, have = Counter(map(period, labelled)), Counter(post.period for post in gold)
    periods = [PeriodReport(name, counts[name], shares.get(name, 0), have[name]) for name in sorted(counts | have)]
    return GoldReport(drawn, len(gold), len(labelled), tuple(periods))
