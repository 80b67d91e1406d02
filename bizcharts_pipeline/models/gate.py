"""Promotion gate: decides which candidate may replace the champion.

The gate's metric is the log loss on gold. It is a proper scoring rule (a model gains nothing by reporting other
probabilities than it estimates), it measures the probabilities that the index sums, and it detects more than accuracy
does: on 150 gold posts of 672 labelled, over 31 draws of the split, a model that is truly 7 points more accurate than
the lexicon was found significantly better by log loss in 84 % of the draws, by accuracy (McNemar, or a bootstrap of it)
in 58 %, by macro-F1 in 48 %. McNemar's p is recorded in every decision. A candidate wins if

- its log loss is lower than the champion's and every trivial baseline's, each with p at most the level. All of them
  have to be beaten, so the highest of these p counts and needs no correction; over the candidates, Holm's applies;
- and neither its accuracy nor its macro-F1 is below any of theirs: better calibration alone is not enough;
- and on old gold, the posts that the champion was judged on when it was promoted, neither is more than
  :data:`MAX_LOSS_ON_OLD_GOLD` below the champion's. Gold grows with each month, so without this a model could win by
  the newest posts while it forgets the others.

Two models are compared on the gold posts that both have scored and neither was trained on.

Repeated tests wear out gold: of enough equal models, one looks better on the same posts. So every model compared with
this champion on this gold before counts in Holm's family; at the level 0.05, after 500 of them even the smallest p of
the bootstrap is too high, and only more gold, or a person, makes another champion. With other gold or another champion
the count starts again: the level holds for each version of gold, not for a year of them. For the same reason a winner's
metrics are slightly too good; metrics on gold frozen later are not.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.trust import MIN_GOLD_POSTS
from bizcharts_pipeline.models.paired import Comparison, compare, holm
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.training.gold_set import GoldSet
from bizcharts_pipeline.warehouse.model_evaluations import Probabilities

MAX_LOSS_ON_OLD_GOLD = 0.02  # of accuracy, and of macro-F1


@dataclass(frozen=True)
class Contender:
    """A model or baseline with its scores on gold."""

    name: str  # model version, or name of the baseline
    scores: Mapping[int, Probabilities]  # by thread
    seen: frozenset[int] = frozenset()  # gold posts that it was trained on; they do not count
    problem: str | None = None  # why it must not win, regardless of its metrics


@dataclass(frozen=True)
class Judgement:
    """The gate's decision on a candidate."""

    model_version: str
    wins: bool
    reason: str
    comparisons: Mapping[str, Comparison]  # by opponent, the champion first; empty: not compared


def judge(
    candidates: Sequence[Contender],
    champion: Contender,
    baselines: Sequence[Contender],
    gold: GoldSet,
    *,
    level: float,
    seed: int,
    earlier: int = 0,
    old: Collection[int] = (),
) -> tuple[Judgement, ...]:
    """Judge at the promotion gate each candidate model against the champion and the baselines.

    The significance ``level`` holds for all of them together with the ``earlier`` models that were compared with this
    champion on this gold. ``old`` is the gold that the champion was judged on when it was promoted.
    """
    judged = [_compared(candidate, [champion, *baselines], gold, seed) for candidate in candidates]
    tested = [judgement for judgement in judged if judgement.comparisons]
    worst = [max(found.bootstrap_p for found in judgement.comparisons.values()) for judgement in tested]
    adjusted = {judgement.model_version: p for judgement, p in zip(tested, holm(worst, earlier), strict=True)}
    decided = [
        _decided(judgement, adjusted[judgement.model_version], len(tested) + earlier, level)
        if judgement.comparisons
        else judgement
        for judgement in judged
    ]
    return tuple(
        replace(judgement, wins=False, reason=lost)
        if judgement.wins and (lost := _lost(candidate, champion, gold, old))
        else judgement
        for judgement, candidate in zip(decided, candidates, strict=True)
    )


def common_threads(contenders: Sequence[Contender], gold: GoldSet) -> list[int]:
    """Return the gold posts that count for all of ``contenders``, the models before the gate."""
    return [
        thread
        for thread in gold.truth
        if all(thread in contender.scores and thread not in contender.seen for contender in contenders)
    ]


def scores_on(contender: Contender, threads: Sequence[int]) -> list[Score]:
    """Return the scores of the model ``contender`` for the gold posts ``threads``."""
    return [Score(*contender.scores[thread]) for thread in threads]


def proof_at(level: float) -> Callable[..., tuple[bool, dict[str, float]]]:
    """Return the models' gate between two ways of scoring the same posts, for a recipe that has to choose one: whether
    the first is better at ``level``, and the figures of the comparison."""

    def better(
        first: Sequence[Score], second: Sequence[Score], truth: Sequence[int], groups: Sequence[int], seed: int
    ) -> tuple[bool, dict[str, float]]:
        found = compare(first, second, truth, groups, seed)
        pairs = (found.accuracy, found.macro_f1)
        wins = found.bootstrap_p <= level and found.difference > 0 and all(mine >= theirs for mine, theirs in pairs)
        return wins, {"log_loss": found.log_loss[0], "against": found.log_loss[1], "p": found.bootstrap_p}

    return better


def _lost(candidate: Contender, champion: Contender, gold: GoldSet, old: Collection[int]) -> str | None:
    """Return what the candidate loses on old gold, if that is too much."""
    threads = [thread for thread in common_threads([candidate, champion], gold) if thread in old]
    if not threads:
        return None
    truth = [gold.truth[thread] for thread in threads]
    mine, theirs = (evaluate(scores_on(contender, threads), truth) for contender in (candidate, champion))
    for figure, one, other in (
        ("accuracy", mine.accuracy, theirs.accuracy),
        ("macro-F1", mine.macro_f1, theirs.macro_f1),
    ):
        if other - one > MAX_LOSS_ON_OLD_GOLD + 1e-12:
            posts = counted(len(threads), "gold post")
            return (
                f"loses on old gold: {figure} {one:.3f} against {other:.3f} on the {posts} that {champion.name} was "
                f"judged on; at most {MAX_LOSS_ON_OLD_GOLD:g} may be lost"
            )
    return None


def _compared(candidate: Contender, opponents: Sequence[Contender], gold: GoldSet, seed: int) -> Judgement:
    unjudged = Judgement(candidate.name, wins=False, reason="", comparisons={})
    if candidate.problem:
        return replace(unjudged, reason=candidate.problem)
    comparisons = {}
    for opponent in opponents:
        threads = common_threads([candidate, opponent], gold)
        if len(threads) < MIN_GOLD_POSTS:
            why = f"{len(threads)} gold posts count for it and {opponent.name}; {MIN_GOLD_POSTS} are needed"
            return replace(unjudged, reason=f"not comparable: {why}")
        truth, groups = ([of[thread] for thread in threads] for of in (gold.truth, gold.groups))
        both = scores_on(candidate, threads), scores_on(opponent, threads)
        comparisons[opponent.name] = compare(*both, truth, groups, seed)
    return replace(unjudged, comparisons=comparisons)


def _decided(judgement: Judgement, p: float, family: int, level: float) -> Judgement:
    for opponent, found in judgement.comparisons.items():
        for figure, (mine, theirs), worse in (
            ("log loss", found.log_loss, found.log_loss[0] > found.log_loss[1]),
            ("accuracy", found.accuracy, found.accuracy[0] < found.accuracy[1]),
            ("macro-F1", found.macro_f1, found.macro_f1[0] < found.macro_f1[1]),
        ):
            if worse:
                why = (
                    f"worse than {opponent}: {figure} {mine:.3f} against {theirs:.3f} on "
                    f"{counted(found.n, 'gold post')}"
                )
                return replace(judgement, reason=why)
    hardest = max(judgement.comparisons, key=lambda name: judgement.comparisons[name].bootstrap_p)
    champion = next(iter(judgement.comparisons))
    named = hardest if p > level else champion
    found = judgement.comparisons[named]
    figures = (
        f"log loss {found.log_loss[0]:.3f} against {found.log_loss[1]:.3f} on {counted(found.n, 'gold post')}, "
        f"p {p:.3g} (Holm, {family} model{'s' if family > 1 else ''} compared on this gold; level {level:g})"
    )
    prefix = "not significantly better" if p > level else "significantly better"
    return replace(judgement, wins=p <= level, reason=f"{prefix} than {named}: {figures}")
