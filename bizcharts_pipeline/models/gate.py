"""Which candidate may take the champion's place.

The gate's figure is the log loss on gold. It is a proper score (nothing is gained by saying another probability than
one believes), it is what the index lives on, which adds up probabilities and no classes, and it sees more than
accuracy does: on 150 gold posts of 672 labelled, 31 draws of the split, a model that is truly 7 points more accurate
than the lexicon was found significantly better by log loss in 84 % of the draws, by accuracy (McNemar, or a bootstrap
of it) in 58 %, by macro-F1 in 48 %. McNemar's p stands beside it in every decision. A candidate wins when

- its log loss is lower than the champion's and every trivial baseline's, with p at most the level each time. All of
  them have to be beaten, so the highest of these p counts and needs no correction; over the candidates, Holm's does;
- and neither its accuracy nor its macro-F1 is below any of theirs: who is better calibrated alone does not win.

Two models are compared on the gold posts that neither has learned from, that both have scored.

Gold wears out: of enough models that are no better, one looks better on the same posts. So every model that was weighed
against this champion on this gold before counts in Holm's family; at the level 0.05, after 500 of them even the least p
that the bootstrap gives is too high, and only more gold, or a person, makes another champion. With other gold or
another champion the count begins anew: the level holds for each version of gold, not for a year of them. For the same
reason a winner's figures flatter it a little; figures on gold that was frozen since do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.trust import MIN_GOLD_POSTS
from bizcharts_pipeline.models.paired import Comparison, compare, holm
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.training.gold_set import GoldSet
from bizcharts_pipeline.warehouse.model_evaluations import Probabilities


@dataclass(frozen=True)
class Contender:
    """A model or baseline on gold."""

    name: str  # model version, or what the baseline is called
    scores: Mapping[int, Probabilities]  # by thread
    seen: frozenset[int] = frozenset()  # gold posts that it learned from: they do not judge it
    problem: str | None = None  # why it must not win, whatever its figures


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a candidate."""

    model_version: str
    wins: bool
    reason: str
    comparisons: Mapping[str, Comparison]  # by opponent, the champion first; empty: it was not compared


def judge(
    candidates: Sequence[Contender],
    champion: Contender,
    baselines: Sequence[Contender],
    gold: GoldSet,
    *,
    level: float,
    seed: int,
    earlier: int = 0,
) -> tuple[Judgement, ...]:
    """Judge each candidate against the champion and the baselines, at a significance of ``level`` for all together, and
    for the ``earlier`` models that were weighed against this champion on this gold."""
    judged = [_compared(candidate, [champion, *baselines], gold, seed) for candidate in candidates]
    tested = [judgement for judgement in judged if judgement.comparisons]
    worst = [max(found.bootstrap_p for found in judgement.comparisons.values()) for judgement in tested]
    adjusted = {judgement.model_version: p for judgement, p in zip(tested, holm(worst, earlier), strict=True)}
    return tuple(
        _decided(judgement, adjusted[judgement.model_version], len(tested) + earlier, level)
        if judgement.comparisons
        else judgement
        for judgement in judged
    )


def common_threads(contenders: Sequence[Contender], gold: GoldSet) -> list[int]:
    """Return the gold posts by which all of ``contenders`` can be judged."""
    return [
        thread
        for thread in gold.truth
        if all(thread in contender.scores and thread not in contender.seen for contender in contenders)
    ]


def scores_on(contender: Contender, threads: Sequence[int]) -> list[Score]:
    """Return what ``contender`` says of ``threads``."""
    return [Score(*contender.scores[thread]) for thread in threads]


def _compared(candidate: Contender, opponents: Sequence[Contender], gold: GoldSet, seed: int) -> Judgement:
    unjudged = Judgement(candidate.name, wins=False, reason="", comparisons={})
    if candidate.problem:
        return replace(unjudged, reason=candidate.problem)
    comparisons = {}
    for opponent in opponents:
        threads = common_threads([candidate, opponent], gold)
        if len(threads) < MIN_GOLD_POSTS:
            why = f"{len(threads)} gold posts can judge it and {opponent.name}; {MIN_GOLD_POSTS} are needed"
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
        f"p {p:.3g} (Holm, {family} model{'s' if family > 1 else ''} weighed on this gold; level {level:g})"
    )
    prefix = "not significantly better" if p > level else "significantly better"
    return replace(judgement, wins=p <= level, reason=f"{prefix} than {named}: {figures}")
