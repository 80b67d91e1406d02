"""Training set of the text models: every post with a verdict, with or without a picture, except gold and its copies.

``home/datasets/text-<first 12 digits of its hash>.json`` names each post with its label and the hash of its text, and
holds no text: as long as the file is kept, a model's training posts are known and can be checked for gold. Posts with a
pseudo-label (pseudo_labels.py) are marked. After the gate a winner is retrained on all posts, gold included
(``with_gold``); that is a data set of another kind, so that it is not mistaken for one that can be evaluated on gold.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment import scorer
from bizcharts_pipeline.text.question import readable
from bizcharts_pipeline.training.examples import Verdict, read_labelled, select_examples
from bizcharts_pipeline.training.recipe import TextExample, TrainingError
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import DatasetVersion, record_dataset
from bizcharts_pipeline.warehouse.image_features import ImageFeatures, features_of

TEXT, TEXT_WITH_GOLD = "text", "text-with-gold"  # kinds of `dataset_versions`
FOLDER = "datasets"  # below the home
PSEUDO = "pseudo-label"  # in place of who labelled a post
ONLY_ROWS = "train"  # recipes hold out validation posts themselves


class NothingToLearn(TrainingError):
    """There are no training examples."""


@dataclass(frozen=True)
class TextSet:
    """Training posts, ordered by thread."""

    dataset_version: str
    examples: tuple[TextExample, ...]
    left_out: Mapping[str, int]  # labelled posts by reason
    path: str  # of the file that names the posts, relative to the home

    @property
    def pseudo_labels(self) -> int:
        """The number of training posts with a pseudo-label."""
        return sum(example.pseudo for example in self.examples)

    @property
    def classes(self) -> dict[str, int]:
        """The number of labelled training posts of each class."""
        labels = [example.label for example in self.examples if not example.pseudo]
        return {name: labels.count(place) for place, name in enumerate(STANCES)}


def load_text_set(
    database: Database,
    home: Path,
    now: datetime,
    *,
    with_gold: bool = False,
    pseudo: Mapping[int, int] = MappingProxyType({}),
) -> TextSet:
    """Return the text models' training set of the current labels, and record it as the current data set of its kind.

    ``pseudo`` has pseudo-labels by thread. Those of labelled posts, of gold and of its near-duplicates are left out.

    Raises:
        LedgerLost: the label ledger lacks labels or gold that the database has.
        NothingToLearn: there are no training examples.
    """
    labelled = read_labelled(database, home)
    held_out = [] if with_gold else labelled.gold_posts
    with database.read() as connection:
        added = load_posts(connection, pseudo.keys() - labelled.judged.keys() - set(labelled.gold))
        features = picture_features(connection, [*labelled.candidates, *added])
    copies = contaminated(added, labelled.gold_posts)
    added = [post for post in added if post.thread_id not in copies]
    judged = {post.thread_id: Verdict(STANCES[pseudo[post.thread_id]], PSEUDO) for post in added}
    examples, left_out = _choose([*labelled.candidates, *added], held_out, {**labelled.judged, **judged}, features)
    if not examples:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "nothing is labelled"
        raise NothingToLearn(f"There are no posts to train on ({why}); label some with `make label` and run again")
    content = (json.dumps(described(examples), indent=0) + "\n").encode()
    digest = hashlib.sha256(content).hexdigest()
    name = f"{TEXT}-{digest[:12]}"
    path = home / FOLDER / f"{name}.json"
    write_atomically(path, content)
    found = TextSet(name, examples, left_out, path.relative_to(home).as_posix())
    kind = TEXT_WITH_GOLD if with_gold else TEXT
    with database.write() as connection:
        rows = len(examples) - found.pseudo_labels
        version = DatasetVersion(name, kind, found.path, rows, 0, {ONLY_ROWS: found.classes}, now)
        record_dataset(connection, version)
    return found


def described(examples: Sequence[TextExample]) -> list[dict[str, Any]]:
    """Return the identities of the training ``examples`` without their texts, as stored in a model's
    ``trained_on.json``."""
    return [
        {"thread_id": example.thread_id, "label": example.label, "text_sha256": text_digest(example.post)}
        | ({"pseudo": True} if example.pseudo else {})
        for example in examples
    ]


def text_digest(post: scorer.Post) -> str:
    """Return the SHA-256 of a post's subject, a line break, and its text, as a list of training posts has it."""
    return hashlib.sha256(f"{post.subject}\n{post.text}".encode(errors="surrogatepass")).hexdigest()


def seen_text_digest(post: scorer.Post) -> str:
    """Return the SHA-256 of a post's text in the form shown to a vision model, as a list of its training posts has
    it."""
    return hashlib.sha256(readable(post.subject, post.text).encode()).hexdigest()


def text_example(
    post: Post, label: int, group: int, features: Mapping[str, ImageFeatures], *, pseudo: bool = False
) -> TextExample:
    """Return a labelled post as an example for training or gold; ``features`` are those of pictures, by their
    SHA-256."""
    picture = None
    if post.picture is not None:
        found = features.get(post.picture.sha256 or "")
        picture = scorer.Picture("stored" if found else "removed", sha256=post.picture.sha256, features=found)
    read = scorer.Post(post.subject or "", post.text or "", post.thread_id, picture, post.posted_at)
    return TextExample(post.thread_id, post.posted_at, read, label, group, pseudo)


def picture_features(connection: duckdb.DuckDBPyConnection, posts: Iterable[Post]) -> dict[str, ImageFeatures]:
    """Return the features of the posts' pictures, by SHA-256, for training examples and gold."""
    return features_of(connection, {post.picture.sha256 for post in posts if post.picture and post.picture.sha256})


def _choose(
    posts: Sequence[Post],
    gold_posts: Sequence[Post],
    judged: Mapping[int, Verdict],
    features: Mapping[str, ImageFeatures],
) -> tuple[tuple[TextExample, ...], Mapping[str, int]]:
    selection = select_examples(posts, gold_posts, judged, None, text_only=True)
    with_text = [example for example in selection.examples if example.text]
    left_out = dict(selection.left_out)
    if without := len(selection.examples) - len(with_text) + left_out.pop("neither text nor picture", 0):
        left_out["without text"] = without
    chosen = [example.post for example in with_text]
    groups = duplicate_groups(chosen)
    examples = [
        text_example(
            example.post,
            STANCES.index(example.stance),
            groups[example.post.thread_id],
            features,
            pseudo=example.labelled_by == PSEUDO,
        )
        for example in with_text
    ]
    return tuple(sorted(examples, key=lambda example: example.thread_id)), left_out
