"""Datasheet of the data set, after the questions of Gebru et al. (Datasheets for Datasets, 2021)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.training.examples import PEOPLE, Example
from bizcharts_pipeline.warehouse.datasets import MeasuredTrust

EXPLICIT = 0.5  # minimum NSFW score of a picture that counts as explicit


@dataclass(frozen=True)
class Facts:
    """Figures in the datasheet of one version."""

    splits: Mapping[str, Sequence[Example]]
    left_out: Mapping[str, int]
    groups: int  # of near-duplicates among the rows
    labellers: int  # people who have labelled at least one post here
    gold_posts: int
    trust: Sequence[MeasuredTrust]
    unusable_images: Mapping[str, int]  # posts by reason, of images that a trainer would refuse

    @property
    def examples(self) -> list[Example]:
        """The training data set's rows of all splits."""
        return [example for rows in self.splits.values() for example in rows]


def datasheet(facts: Facts) -> str:
    """Return the datasheet of the training data set as Markdown. It does not depend on the time of writing."""
    sections = [
        ("Datasheet: stance of opening posts on /biz/", _summary(facts)),
        ("Motivation", _MOTIVATION),
        ("Composition", _composition(facts)),
        ("Collection", _collection(facts)),
        ("Labelling", _labelling(facts)),
        ("What was left out, and why", _left_out(facts)),
        ("Uses", _USES),
        ("Distribution", _DISTRIBUTION),
        ("Maintenance", _MAINTENANCE),
    ]
    (title, summary), *rest = sections
    return f"# {title}\n\n{summary}\n" + "".join(f"\n## {heading}\n\n{body}\n" for heading, body in rest)


def balance_table(splits: Mapping[str, Sequence[Example]]) -> str:
    """Return the training data set's rows by split and class as a Markdown table."""
    counts = {split: Counter(example.stance for example in rows) for split, rows in splits.items()}
    counts["both"] = sum(counts.values(), Counter())
    body = [
        [split, *(_share(count[name], count.total()) for name in STANCES), str(count.total())]
        for split, count in counts.items()
    ]
    return _table(["split", *STANCES, "rows"], body)


def _summary(facts: Facts) -> str:
    return (
        f"{len(facts.examples)} opening posts of 4chan's /biz/ board, each with the stance towards crypto markets that "
        "its picture and text express together: bearish, neutral or bullish.\n\n" + balance_table(facts.splits)
    )


def _composition(facts: Facts) -> str:
    examples = facts.examples
    months = Counter(f"{e.post.posted_at:%Y-%m}" if e.post.posted_at else "unknown" for e in examples)
    pictures = [example.post.picture for example in examples if example.picture]
    explicit = sum(picture is not None and (picture.nsfw or 0) >= EXPLICIT for picture in pictures)
    return (
        "A row is one post: its subject and text, its thumbnail (at most 250 pixels), and one class. Text is cut at "
        "1,500 bytes of UTF-8, control characters are removed, and a `<` that could begin a tag is replaced by `‹`. "
        f"{len(pictures)} rows have a picture and {len(examples) - len(pictures)} only text; {explicit} pictures "
        f"are rated {EXPLICIT:g} or more by the NSFW model. There are {facts.groups} "
        "groups of near-duplicates, none of which is in both splits. No user names, tripcodes or poster ids; posts may "
        "name people. `rows.json` names the thread of each row.\n\n"
        "It is raw imageboard speech: insults, slurs, conspiracy theories, spam and fraud occur throughout.\n\n"
        + _table(["month (UTC)", "rows"], [[month, str(count)] for month, count in sorted(months.items())])
    )


def _collection(facts: Facts) -> str:
    posted = sorted(e.post.posted_at for e in facts.examples if e.post.posted_at)
    period = f"from {posted[0]:%Y-%m-%d} to {posted[-1]:%Y-%m-%d} (UTC)" if posted else "at unknown times"
    return (
        f"Posted {period}. Taken from the board's public catalogue and from the Warosu archive, by BizCharts or, for "
        "imported labels, by their labellers. The posters did not consent and do not know; they posted in public and "
        "without a name. Labelled posts are not a random sample where a queue or a filter selected them."
    )


def _labelling(facts: Facts) -> str:
    by = Counter(example.labelled_by for example in facts.examples)
    sources = _table(["labelled by", "rows"], [[name, str(count)] for name, count in sorted(by.items())])
    text = (
        f"People who labelled here: {facts.labellers}, by docs/labelling-guide.md. Of several labels of one person "
        "the newest counts, of several people the majority. A model's label is used only where no person has labelled, "
        "and only of versions that passed the gate on the gold split; where two such versions disagree, neither is "
        "used.\n\n"
        f"{sources}"
    )
    if not any(name != PEOPLE for name in by):
        return text
    measured = [
        [
            str(trust.version),
            str(trust.n),
            f"{_figure(trust.accuracy)} ({_figure(trust.accuracy_lo)} to {_figure(trust.accuracy_hi)})",
            _figure(trust.macro_f1),
            _figure(trust.kappa),
        ]
        for trust in facts.trust
        if trust.trusted
    ]
    head = ["trusted version", "gold posts", "accuracy (95 %)", "macro-F1", "kappa with people"]
    return f"{text}\n\nMeasured on gold, that is how often such a label is right:\n\n{_table(head, measured)}"


def _left_out(facts: Facts) -> str:
    rows = [[reason, str(count)] for reason, count in sorted(facts.left_out.items())]
    posts = (
        "Labelled posts that are not rows. No file contains the "
        f"{facts.gold_posts} posts of the gold split, on which models are evaluated, or their near-duplicates by text "
        "(Jaccard similarity of 5-grams at least 0.8) or picture.\n\n" + _table(["reason", "posts"], rows)
        if rows
        else "No labelled posts."
    )
    if not facts.unusable_images:
        return posts
    refused = [[reason, str(count)] for reason, count in sorted(facts.unusable_images.items())]
    return (
        f"{posts}\n\nPictures that the training script would refuse. Their posts are left out, or are rows of text "
        "only if the setting `text_only` allows that.\n\n" + _table(["reason", "pictures"], refused)
    )


_MOTIVATION = (
    "Made with BizCharts to teach a vision-language model the stance of a post, from which a Fear/Greed index of the "
    "board is computed. By and for the operator of the installation."
)
_USES = (
    "For training classifiers of stance on this board and for research on them. `validation.json` is for choosing a "
    "checkpoint; its labels have the same errors, so it is not a test set. Trainers must not truncate rows (TRL: "
    "`max_length=None`; LLaMA-Factory: `cutoff_len` of at least 2048), and for TRL the `<image>` must be removed from "
    "the text, because it inserts the picture itself.\n\n"
    "Not for statements about persons, for moderation, or for generating posts. Stance is not a forecast of prices. "
    "The board's users do not represent any population, and months not in the table are not represented: a model can "
    "learn the topics of a week instead of stance."
)
_DISTRIBUTION = (
    "Not meant to be published. Texts and pictures belong to their posters or to third parties, and no licence is "
    "known; 4chan and Warosu grant none. Keep it on machines that you control, and delete it on those that you rent."
)
_MAINTENANCE = (
    "The version is the hash of the files; the same labels and pictures give the same version. A version is never "
    "changed. A version with a picture that was blocked or deleted by the board later is removed completely, and a "
    "new one is made without it. To remove a version, delete its folder."
)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if total else "0"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
