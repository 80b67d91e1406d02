"""Public sets of texts rated by people, as worlds in which only some of the labels are known.

Read from ``BIZCHARTS_SHARED_DATA`` (default ``../shared/data``). A set is a list of texts with their class: 0 negative,
1 neutral, 2 positive.
"""

import csv
import gzip
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_text import DATA
from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.sentiment import scorer
from bizcharts_pipeline.training.recipe import TextExample

FOLDER = DATA / "labels"
ROUNDS = 6
KNOWN = (150, 300, 500)  # labels, in turn
KNOWN_OF_FEW = (150, 250, 350)  # of a set with fewer than 3,000 texts
POOL = 3_000  # texts of which the known ones and the additional ones are drawn
HELD_OUT = 3_500  # further texts at most, of which nothing is learned
NOISE = 0.3  # share of the labels that are drawn at random, in every third round
NEUTRAL_EMOTIONS = {"ambiguous", "confusion", "surprise", "amusement"}

Rated = list[tuple[str, int]]


@dataclass(frozen=True)
class World:
    """A set of which ``known`` labels are known; ``more`` are the further ones by the factor of all labels."""

    name: str
    noise: float
    known: Sequence[TextExample]
    more: Mapping[float, Sequence[Sequence[TextExample]]]  # the known and further ones together, in several draws
    held_out: Sequence[TextExample]  # no near-duplicates of the others


def worlds() -> Iterator[World]:
    """Yield the worlds of all sets, ``ROUNDS`` of each."""
    for round_number in range(ROUNDS):
        for place, (name, read) in enumerate(SETS.items()):
            yield _world(name, read(), round_number, place)


def _world(name: str, rated: Rated, round_number: int, place: int) -> World:
    noise = NOISE if round_number % 3 == 2 else 0.0
    rows = sorted(set(rated))
    random.Random(7).shuffle(rows)
    pool, rest = rows[:POOL], rows[POOL : POOL + HELD_OUT]
    rng = random.Random(1_000 * round_number + place)
    rng.shuffle(pool)
    labels = [label for _, label in pool]
    rows = [(text, rng.choice(labels) if rng.random() < noise else label) for text, label in pool + rest]
    groups = duplicate_groups([Post(number, None, None, text, None) for number, (text, _) in enumerate(rows)])
    examples = [
        TextExample(number, None, scorer.Post("", text), label, groups[number])
        for number, (text, label) in enumerate(rows)
    ]
    known = (KNOWN if len(pool) == POOL else KNOWN_OF_FEW)[(round_number + place) % 3]
    half = known // 2

    def with_more(first: int, count: int) -> list[TextExample]:
        return examples[:known] + examples[first : first + count]

    more = {
        1.0: [examples[:known]],
        1.5: [with_more(known + draw * known, half) for draw in range(3)],
        2.0: [with_more(known + draw * known, known) for draw in range(3)],
        4.0: [examples[: 4 * known]],
    }
    learned = {example.group for example in examples[: 4 * known]}
    held_out = [example for example in examples[4 * known :] if example.group not in learned]
    return World(name, noise, examples[:known], more, held_out)


def _by_mean_rating(name: str) -> Rated:
    """Return the texts of a file of mean ratings: the lowest and the highest three tenths are negative and positive."""
    path = FOLDER / "vader_icwsm2014" / name
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [line.split("\t") for line in content.decode("utf-8", "replace").splitlines()]
    rated = [(row[2], float(row[1])) for row in rows if len(row) >= 3]
    means = sorted(mean for _, mean in rated)
    low, high = means[len(means) * 3 // 10], means[len(means) * 7 // 10]
    return [(text, 0 if mean < low else 2 if mean > high else 1) for text, mean in rated]


def _stock_emotions() -> Rated:
    rows = _csv(FOLDER / "stockemotions_train.csv")
    sides = {"bearish": 0, "bullish": 2}
    return [(row["original"], 1 if row["emo_label"] in NEUTRAL_EMOTIONS else sides[row["senti_label"]]) for row in rows]


def _crypto_news() -> Rated:
    return [(row["news"], int(float(row["final_manual_labelling"])) + 1) for row in _csv(FOLDER / "cryptolin_news.csv")]


def _finance_news() -> Rated:
    classes = {"negative": 0, "neutral": 1, "positive": 2}
    lines = (FOLDER / "financial_phrasebank_50agree.txt").read_text("utf-8-sig", "replace").splitlines()
    rows = (line.rpartition("@") for line in lines)
    return [(text, classes[label.strip()]) for text, _, label in rows if text]


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


SETS: dict[str, Callable[[], Rated]] = {
    "tweets": lambda: _by_mean_rating("tweets_GroundTruth.txt"),
    "amazon": lambda: _by_mean_rating("amazonReviewSnippets_GroundTruth.txt"),
    "nyt": lambda: _by_mean_rating("nytEditorialSnippets_GroundTruth.txt"),
    "movie": lambda: _by_mean_rating("movieReviewSnippets_GroundTruth.txt.gz"),
    "stock": _stock_emotions,
    "crypto": _crypto_news,
    "phrase": _finance_news,
}
