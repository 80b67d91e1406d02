"""Trust in a paid model's labels: its answers on gold posts compared with people's.

A refused post is a missing label, never a neutral one: it counts only in the block rate.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bizcharts_pipeline.labels.agreement import between_labellers, measured, self_agreements
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.stances import STANCES, Stance, stance
from bizcharts_pipeline.sentiment.evaluation import Evaluation, evaluate
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.settings import AutoLabelSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.trust import ModelAnswer, TrustRow, Version, answers, append_trust, costs

MIN_GOLD_POSTS = 50  # answers on gold posts; with fewer, the uncertainty of accuracy exceeds +-14 points
MIN_PAIRS = 30  # minimum of common posts for a kappa between people
Z = 1.959964  # 95 %, two-sided

_CLASS: dict[str, int] = {name: place for place, name in enumerate(STANCES)}  # same as in sentiment/evaluation.py


@dataclass(frozen=True)
class Trust:
    """A version's measurement; ``confusion`` has one row per class by people and one column per class by the
    version.
    """

    row: TrustRow
    confusion: tuple[tuple[int, ...], ...]


def majority(newest: Iterable[Label]) -> dict[int, Stance]:
    """Return the class that most labellers gave to each post; ``newest`` has one label per labeller and post. Ties are
    left out.
    """
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for label in newest:
        if label.sentiment_rating is not None:
            votes[label.thread_id][label.sentiment_rating] += 1
    decided = {}
    for thread_id, count in votes.items():
        (rating, most), *others = count.most_common(2)
        if not others or others[0][1] < most:
            decided[thread_id] = stance(rating)
    return decided


def measure_trust(
    database: Database, ledger: LabelLedger, gate: AutoLabelSettings, now: datetime, *, relabelled_after: timedelta
) -> list[Trust]:
    """Measure every version of a labelling model with labels on the gold split, append the results to
    ``auto_label_trust``, and return them.

    A label given after seeing a suggestion is not independent of its model, so such labels are not used as truth.
    ``relabelled_after`` separates relabels from corrections, as in :func:`kappa_of_people`.
    """
    gold = {post.thread_id for post in ledger.gold()}
    independent = majority(label for label in ledger.newest() if label.suggestion is None)
    truth = {thread_id: said for thread_id, said in independent.items() if thread_id in gold}
    people_kappa = kappa_of_people(ledger.standing(), relabelled_after)
    with database.read() as connection:
        given, prices = answers(connection, truth), costs(connection)
    found = [
        measure(version, given[version], truth, gate, people_kappa=people_kappa, usd_per_1000=prices[version])
        for version in sorted(given)
    ]
    with database.write() as connection:
        append_trust(connection, [trust.row for trust in found], now)
    return found


def measure(
    version: Version,
    given: Sequence[ModelAnswer],
    truth: Mapping[int, Stance],
    gate: AutoLabelSettings,
    *,
    people_kappa: float | None,
    usd_per_1000: float | None,
) -> Trust:
    """Measure a version of a labelling model by the answers ``given`` to gold posts with known ``truth``.

    ``people_kappa`` is the agreement among people (:func:`kappa_of_people`); if it is ``None``, the version's kappa is
    not compared with it. Accuracy has Wilson's 95 % interval, kappa that of a bootstrap over the posts.
    """
    relevant = [answer for answer in given if answer.thread_id in truth]
    labelled = [answer for answer in relevant if answer.label is not None]
    refused = sum(answer.refused for answer in relevant)
    said = [_CLASS[answer.label] for answer in labelled if answer.label is not None]
    true = [_CLASS[truth[answer.thread_id]] for answer in labelled]
    figures = evaluate([_certain(place) for place in said], true) if labelled else None
    agreement = measured("people", str(version), [(a + 1, b + 1) for a, b in zip(true, said, strict=True)])
    recalls = [_recall(figures.confusion[k], k) if figures else None for k in range(3)]
    reasons = _reasons(gate, figures, recalls, agreement.kappa.value, people_kappa)
    low, high = (
        wilson(sum(a == b for a, b in zip(true, said, strict=True)), len(labelled)) if labelled else (None, None)
    )
    row = TrustRow(
        provider=version.provider,
        model=version.model,
        endpoint=version.endpoint,
        prompt_version=version.prompt_version,
        n=len(labelled),
        accuracy=figures.accuracy if figures else None,
        accuracy_lo=low,
        accuracy_hi=high,
        macro_f1=figures.macro_f1 if figures else None,
        recall_bearish=recalls[0],
        recall_neutral=recalls[1],
        recall_bullish=recalls[2],
        kappa=agreement.kappa.value,
        kappa_lo=agreement.kappa.lo,
        kappa_hi=agreement.kappa.hi,
        ece=_calibration_error(labelled, truth),
        block_rate=refused / (refused + len(labelled)) if labelled or refused else None,
        usd_per_1000=usd_per_1000,
        trusted=not reasons,
        reason="; ".join(reasons) or None,
    )
    return Trust(row, agreement.table)


def kappa_of_people(standing: Sequence[Label], relabelled_after: timedelta) -> float | None:
    """Return Cohen's kappa among labellers, else the mean self-agreement, else ``None``.

    Several pairs are averaged, weighted by posts; a pair with fewer than ``MIN_PAIRS`` common posts is ignored.
    """
    for found in (between_labellers(standing), self_agreements(standing, relabelled_after)):
        known = [(pair.kappa.value, pair.items) for pair in found if pair.items >= MIN_PAIRS]
        defined = [(kappa, items) for kappa, items in known if kappa is not None]
        if defined:
            return sum(kappa * items for kappa, items in defined) / sum(items for _, items in defined)
    return None


def wilson(successes: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return the Wilson interval (1927) of a share of labels, by default the 95 % one.

    ``n`` is at least 1, and with ``successes`` a number of cases or what an estimate is worth in cases.
    """
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _reasons(
    gate: AutoLabelSettings,
    figures: Evaluation | None,
    recalls: Sequence[float | None],
    kappa: float | None,
    people_kappa: float | None,
) -> list[str]:
    """Return the reasons why a version is not trusted."""
    if figures is None or figures.n < MIN_GOLD_POSTS:
        n = figures.n if figures else 0
        return [f"{n} gold posts have both its label and one of people; {MIN_GOLD_POSTS} are needed"]
    reasons = []
    if figures.accuracy < gate.least_accuracy:
        reasons.append(f"accuracy {figures.accuracy:.2f}, at least {gate.least_accuracy:g} required")
    if figures.macro_f1 < gate.least_macro_f1:
        reasons.append(f"macro-F1 {figures.macro_f1:.2f}, at least {gate.least_macro_f1:g} required")
    for name, recall in zip(STANCES, recalls, strict=True):
        if recall is None:
            reasons.append(f"no {name} post among the gold posts it labelled")
        elif recall < gate.least_recall:
            reasons.append(f"recall {recall:.2f} of {name}, at least {gate.least_recall:g} required")
    if kappa is not None and people_kappa is not None and kappa < people_kappa - gate.kappa_below_people:
        required = people_kappa - gate.kappa_below_people
        reasons.append(f"kappa {kappa:.2f}, at least {required:.2f} required: among people it is {people_kappa:.2f}")
    return reasons


def _recall(said: Sequence[int], k: int) -> float | None:
    return said[k] / sum(said) if sum(said) else None


def _certain(place: int) -> Score:
    return Score(float(place == 0), float(place == 1), float(place == 2))


def _calibration_error(given: Sequence[ModelAnswer], truth: Mapping[int, Stance]) -> float | None:
    """Return the ECE over the answers that have probabilities; ``None`` if there are none."""
    rated = [(Score(*answer.probabilities), truth[answer.thread_id]) for answer in given if answer.probabilities]
    if not rated:
        return None
    return evaluate([score for score, _ in rated], [_CLASS[true] for _, true in rated]).ece
