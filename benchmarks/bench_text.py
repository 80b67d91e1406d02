"""Speed and accuracy of parsing and scoring posts, compared with the stock vaderSentiment package.

    python -m benchmarks text

Real posts are read from ``BIZCHARTS_SHARED_DATA`` (default ``../shared/data``); without them, synthetic posts are used
and the table of accuracy is omitted. Times are the median of alternating rounds on one core.
"""

import gzip
import json
import os
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.measure import Row, alternated, ratio
from bizcharts_pipeline.sentiment.evaluation import Evaluation, evaluate
from bizcharts_pipeline.sentiment.fit_lexicon import LabelledPost, cross_validate, read_labels
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.sentiment.vader import Vader, package_lexicon
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.text.html import html_to_text

DATA = Path(os.environ.get("BIZCHARTS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
LABELS = DATA / "labels" / "biz_op_labels_2025_part_a.jsonl"
ROUNDS = 7
_WORD = re.compile(r"\w+")  # the lower bound of a search for names
VADER_CUT = 0.05  # the package's own: a compound above it is positive, below its negative value negative


def opening_posts() -> list[Post]:
    """Return the rated opening posts of 2025 and the posts of the 2025 snapshots, each thread once."""
    if not LABELS.exists():
        return _synthetic(1_000)
    posts = {item.post: None for item in read_labels(LABELS)}
    snapshots = DATA / "biz_posts" / "biz_thread_snapshots_2025-11_12_part_a.jsonl"
    threads = {row["id"]: row for row in map(json.loads, snapshots.read_text(encoding="utf-8").splitlines())}
    for row in threads.values():
        posts[Post("" if row["subject_is_generated"] else row["subject"] or "", row["top_quote"] or "")] = None
    return list(posts)


def long_posts(n: int = 3_000) -> list[Post]:
    """Return posts of 300 to 600 characters, from the threads of 2017."""
    archive = DATA / "biz_posts" / "biz_threads_text_2017_part_a.jsonl.gz"
    if not archive.exists():
        return [Post(post.subject, (post.text * 9)[:450]) for post in _synthetic(n)]
    with gzip.open(archive, "rt", encoding="utf-8") as lines:
        texts = (text for line in lines for text in json.loads(line)["lines"] if 300 <= len(text) <= 600)
        return [Post("", text) for text, _ in zip(texts, range(n), strict=False)]


def _synthetic(n: int) -> list[Post]:
    rng = random.Random(1)
    words = [word for word in package_lexicon() if word.isalpha()]
    common = [
        "the",
        "to",
        "of",
        "and",
        "i",
        "you",
        "it",
        "is",
        "buy",
        "sell",
        "BTC",
        "LINK",
        "moon",
        "coin",
        "now",
        "not",
    ]
    return [
        Post("", " ".join(rng.choice(common if rng.random() < 0.9 else words) for _ in range(45))) for _ in range(n)
    ]


def rows() -> list[Row]:
    """Return every figure."""
    short, long = opening_posts(), long_posts()
    speeds = [*_scoring(short, "opening posts of 2025"), *_scoring(long, "posts of 300-600 characters, 2017")]
    return [
        *speeds,
        *_reading(short, "opening posts of 2025"),
        *_reading(long, "posts of 300-600 characters, 2017"),
        *_accuracy(),
    ]


def _scoring(posts: list[Post], what: str) -> Iterable[Row]:
    package, fast, scorer = SentimentIntensityAnalyzer(), Vader(), LexiconScorer()
    texts = [f"{post.subject}\n{post.text}" for post in posts]
    stock, quick, lexicon = _alternate(
        lambda: [package.polarity_scores(text) for text in texts],
        lambda: [fast.polarity(text) for text in texts],
        lambda: scorer.score(posts),
    )
    note = f"{what}, {statistics.fmean(map(len, texts)):.0f} characters on average"
    n, middle = len(posts), statistics.median
    yield "stock vaderSentiment", n / middle(stock), "posts/s", note
    yield f"fast VADER, {what}", n / middle(quick), "posts/s", "same scores as stock; over stock", ratio(quick, stock)
    yield (
        f"LexiconScorer, {what}",
        n / middle(lexicon),
        "posts/s",
        "over stock; goal: at most 0.25",
        ratio(lexicon, stock),
    )


def _reading(posts: list[Post], what: str) -> Iterable[Row]:
    pages = [escape(post.text).replace("\n", "<br>") + '<br><span class="quote">&gt;tfw</span>' for post in posts]
    coins, words, html, tree = _alternate(
        lambda: [find_mentions(post.subject, post.text) for post in posts],
        lambda: [_WORD.findall(f"{post.subject}\n{post.text}") for post in posts],
        lambda: [html_to_text(page) for page in pages],
        lambda: [LexborHTMLParser(page).text() for page in pages],
    )
    n, middle = len(posts), statistics.median
    yield (
        f"coin extraction, {what}",
        n / middle(coins),
        "posts/s",
        "goal: 50,000; over words by re",
        ratio(coins, words),
    )
    yield f"HTML to text, {what}", n / middle(html), "posts/s", "over selectolax's text", ratio(html, tree)


def _alternate(*tasks: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of CPU time of each task, by round."""
    return alternated(*tasks, rounds=ROUNDS, clock=time.process_time)


def _accuracy() -> Iterable[Row]:
    if not LABELS.exists():
        return
    labelled = read_labels(LABELS)
    truth = [item.label for item in labelled]
    package, scorer = SentimentIntensityAnalyzer(), LexiconScorer()
    yield from _figures("LexiconScorer, cross-validated", cross_validate(labelled), "seeds' mean, 5 grouped folds")
    yield from _figures(
        "LexiconScorer, as shipped",
        [evaluate(scorer.score([i.post for i in labelled]), truth)],
        "seen in fitting",
    )
    yield from _figures(
        "stock VADER", [evaluate([_stock_score(package, i) for i in labelled], truth)], f"cut at {VADER_CUT}"
    )
    yield from _figures("always neutral", [evaluate([Score(0.0, 1.0, 0.0)] * len(truth), truth)], "")


def _stock_score(package: SentimentIntensityAnalyzer, item: LabelledPost) -> Score:
    compound = package.polarity_scores(f"{item.post.subject} {item.post.text}")["compound"]
    if abs(compound) < VADER_CUT:
        return Score((1 - compound) / 4, 0.5, (1 + compound) / 4)
    strength = 0.5 + abs(compound) / 2
    return Score(0.0, 1 - strength, strength) if compound > 0 else Score(strength, 1 - strength, 0.0)


def _figures(name: str, evaluations: list[Evaluation], note: str) -> Iterable[Row]:
    for figure in ("accuracy", "macro_f1", "ece", "bull_bear_auc"):
        value = statistics.fmean(getattr(evaluation, figure) or 0.0 for evaluation in evaluations)
        yield f"{name}: {figure}", value, "", f"{evaluations[0].n} rated posts; {note}".rstrip("; ")
