"""The gold set for evaluating models: the frozen gold split with people's majority labels."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.gold import flagged_illegal, gold_content, known_gold
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.training.examples import verdicts
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.text_set import described, picture_features, text_example
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labelled import stored_gold


@dataclass(frozen=True)
class GoldSet:
    """Gold posts with a label, by thread; includes posts without text, which text models have to guess."""

    gold_version: str  # hash of posts, texts and labels
    examples: tuple[TextExample, ...]
    posts: tuple[Post, ...]  # in the order of the examples
    frozen_at: Mapping[int, datetime]  # by thread; naive UTC
    without_label: int  # gold posts that are unknown, flagged, or without a majority

    @cached_property
    def truth(self) -> dict[int, int]:
        """The class of each post of the gold set, 0 bearish to 2 bullish, by thread."""
        return {example.thread_id: example.label for example in self.examples}

    @cached_property
    def groups(self) -> dict[int, int]:
        """The group of near-duplicates of each post of the gold set: thread number to group number."""
        return {example.thread_id: example.group for example in self.examples}


def load_gold_set(database: Database, home: Path) -> GoldSet:
    """Return the current gold set for evaluating models; empty if there is no gold split."""
    ledger = LabelLedger(home / LEDGER)
    # A label given after seeing a model's suggestion must not evaluate models.
    people = [label for label in ledger.newest() if label.suggestion is None]
    illegal = flagged_illegal(ledger.standing())
    with database.read() as connection:
        gold = known_gold(connection, ledger)
        frozen = {thread_id: frozen_at for thread_id, _, frozen_at in stored_gold(connection)}
        known = load_posts(connection, gold)
        features = picture_features(connection, known)
    frozen |= {post.thread_id: post.frozen_at for post in ledger.gold()}
    stances = {thread: verdict.stance for thread, verdict in verdicts(people, [], [], illegal).items()}
    posts = [post for post in gold_content(known, gold, ledger) if stances.get(post.thread_id)]
    groups = duplicate_groups(posts)
    examples = tuple(
        text_example(post, STANCES.index(stance), groups[post.thread_id], features)
        for post in posts
        if (stance := stances[post.thread_id])
    )
    digest = hashlib.sha256(json.dumps(described(examples)).encode()).hexdigest()
    return GoldSet(f"gold-{digest[:12]}", examples, tuple(posts), frozen, len(gold) - len(examples))
