"""Selection of training examples: the posts that a model may learn from, and the reasons for excluding others."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.gold import flagged_illegal, gold_content, known_gold
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import contaminated
from bizcharts_pipeline.labels.recovery import require_ledger
from bizcharts_pipeline.labels.stances import STANCES, Stance
from bizcharts_pipeline.labels.trust import majority
from bizcharts_pipeline.text.question import readable
from bizcharts_pipeline.training.onpod_checks import image_problems
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import ModelLabel, model_labels
from bizcharts_pipeline.warehouse.trust import Version, trusted_versions

PEOPLE = "people"


@dataclass(frozen=True)
class Verdict:
    """The agreed stance of a post and its source, or the reason why there is none."""

    stance: Stance | None
    labelled_by: str = ""  # PEOPLE, or the names of models
    why_not: str = ""


@dataclass(frozen=True)
class Example:
    """A training example. ``picture`` is an absolute path, or ``None`` for an example of text only."""

    post: Post
    text: str  # as shown to a model
    stance: Stance
    labelled_by: str
    picture: Path | None
    sha256: str | None  # of the picture's content


@dataclass(frozen=True)
class Selection:
    """The examples, ordered by thread, and the number of excluded labelled posts by reason."""

    examples: tuple[Example, ...]
    left_out: Mapping[str, int]
    unusable_images: Mapping[int, str]  # by thread: images that a trainer would refuse, of included and excluded posts


@dataclass(frozen=True)
class UsableImage:
    """The image of a post: its file, or the reason why it cannot be used."""

    path: Path | None
    reason: str = ""  # category, and after ": " its details
    refused: bool = False  # by the trainer's own check, not because the file is missing

    @property
    def category(self) -> str:
        """The reason why a training example lacks its image, without details, for counting."""
        return self.reason.partition(": ")[0]


WITHOUT_IMAGE = UsableImage(None, "without picture")


@dataclass(frozen=True)
class Labelled:
    """All current labels by people and models, and gold."""

    people: Sequence[Label]  # the newest of each labeller
    judged: Mapping[int, Verdict]  # by thread
    gold: Collection[int]
    gold_posts: Sequence[Post]  # those with known content
    candidates: Sequence[Post]  # posts with a verdict and known content, gold included


def read_labelled(database: Database, home: Path) -> Labelled:
    """Return all labelled posts and gold, from which the training examples are selected.

    Raises:
        LedgerLost: the label ledger lacks labels or gold that the database has.
    """
    ledger = LabelLedger(home / LEDGER)
    require_ledger(database, ledger)
    people, illegal = ledger.newest(), flagged_illegal(ledger.standing())
    with database.read() as connection:
        gold = known_gold(connection, ledger)
        judged = verdicts(people, model_labels(connection), trusted_versions(connection), illegal)
        posts = load_posts(connection, judged.keys() | gold)
    candidates = [post for post in posts if post.thread_id in judged]
    return Labelled(people, judged, gold, gold_content(posts, gold, ledger), candidates)


def verdicts(
    people: Iterable[Label], models: Iterable[ModelLabel], trusted: Collection[Version], illegal: Iterable[int]
) -> dict[int, Verdict]:
    """Return the verdict on every labelled post, for training examples and gold: people take precedence over models.

    ``people`` are the newest labels of each labeller. Among people the majority decides; trusted versions of models
    must agree. ``illegal`` threads are excluded from training, regardless of other labels.
    """
    newest = list(people)
    decided = majority(newest)
    rated = {label.thread_id for label in newest if not label.skipped}
    by_models = defaultdict(list)
    for answer in models:
        by_models[answer.thread_id].append(answer)
    judged = {thread_id: _of_models(answers, trusted) for thread_id, answers in by_models.items()}
    for thread_id in {label.thread_id for label in newest}:
        why_not = "people disagree" if thread_id in rated else "skipped by people"
        judged[thread_id] = (
            Verdict(decided[thread_id], PEOPLE) if thread_id in decided else Verdict(None, why_not=why_not)
        )
    return judged | dict.fromkeys(illegal, Verdict(None, why_not="flagged as illegal"))


def _of_models(answers: Sequence[ModelLabel], trusted: Collection[Version]) -> Verdict:
    believed = [answer for answer in answers if answer.version in trusted]
    labels = {answer.label for answer in believed}
    if not believed:
        return Verdict(None, why_not="labelled by untrusted models only")
    if len(labels) > 1:
        return Verdict(None, why_not="trusted models disagree")
    if not labels <= set(STANCES):
        return Verdict(None, why_not="labelled as none of the three classes")
    models = sorted({f"{answer.version.provider}/{answer.version.model}" for answer in believed})
    return Verdict(cast(Stance, labels.pop()), " + ".join(models))


def select_examples(
    posts: Sequence[Post],
    gold_posts: Sequence[Post],
    judged: Mapping[int, Verdict],
    home: Path | None,
    *,
    text_only: bool,
) -> Selection:
    """Select the training examples. ``posts`` are the posts in ``judged`` with known content.

    Args:
        home: where the images are stored; ``None`` to ignore images.
        text_only: whether to use the text alone of a post whose image cannot be used.
    """
    gold = {post.thread_id for post in gold_posts}
    copies = contaminated(posts, gold_posts)
    left_out: Counter[str] = Counter()
    if unknown := len(judged.keys() - {post.thread_id for post in posts}):
        left_out["post unknown here"] = unknown
    free = []
    for post in posts:
        if why := _why_not(post, judged[post.thread_id], gold, copies):
            left_out[why] += 1
        else:
            free.append(post)
    images = usable_images(free, home) if home else {}
    examples = []
    for post in free:
        found = _example(post, judged[post.thread_id], images.get(post.thread_id, WITHOUT_IMAGE), text_only)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            examples.append(found)
    refused = {thread: image.reason for thread, image in images.items() if image.refused}
    return Selection(tuple(examples), dict(sorted(left_out.items())), refused)


def _why_not(post: Post, verdict: Verdict, gold: Collection[int], copies: Collection[int]) -> str:
    """Return why a post is excluded, regardless of its image; empty if it is not."""
    if post.thread_id in gold:
        return "gold"
    if post.thread_id in copies:
        return "near-duplicate of a gold post"
    return verdict.why_not if verdict.stance is None else ""


def _example(post: Post, verdict: Verdict, image: UsableImage, text_only: bool) -> Example | str:
    """Return the example, or the reason why there is none."""
    assert verdict.stance
    text = readable(post.subject, post.text)
    if image.path is None:
        if not text_only:
            return image.category
        if not text:
            return "neither text nor picture"
    sha256 = post.picture.sha256 if post.picture and image.path else None
    return Example(post, text, verdict.stance, verdict.labelled_by, image.path, sha256)


def usable_images(posts: Iterable[Post], home: Path) -> dict[int, UsableImage]:
    """Return the image of each thread, with the reason if it is not stored, damaged, or refused by the on-pod
    scripts."""
    stored = {post.thread_id: _stored_image(post, home) for post in posts}
    problems = image_problems(image.path for image in stored.values() if image.path)
    return {
        thread: UsableImage(None, problems[image.path], refused=True)
        if image.path and image.path in problems
        else image
        for thread, image in stored.items()
    }


def _stored_image(post: Post, home: Path) -> UsableImage:
    if post.picture is None:
        return WITHOUT_IMAGE
    if post.picture.status != "stored" or not post.picture.path or not post.picture.sha256:
        return UsableImage(None, f"picture {post.picture.status or 'never fetched'}")
    path = home / post.picture.path
    try:
        intact = hashlib.sha256(read_regular(path)).hexdigest() == post.picture.sha256
    except FileNotFoundError:
        return UsableImage(None, "picture lost from the store")
    return UsableImage(path) if intact else UsableImage(None, "picture damaged in the store")
