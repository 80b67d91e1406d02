"""Fits the lexicon scorer's calibration to rated posts.

    python -m bizcharts_pipeline.sentiment.fit_lexicon LABELS.jsonl

Each line of the file has ``sentiment_rating`` (1 bearish, 2 neutral, 3 bullish), ``subject`` and ``text_snapshot``;
skipped labels are left out. Needs scikit-learn (extra ``test``). Writes ``data/calibration.json`` and prints the
metrics.
"""

import argparse
import hashlib
import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.sentiment.evaluation import Evaluation, evaluate
from bizcharts_pipeline.sentiment.features import features
from bizcharts_pipeline.sentiment.lexicon import Calibration, make_stance_reader
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.text.cleaning import clean_text

CALIBRATION_FILE = Path(__file__).parent / "data" / "calibration.json"
INVERSE_REGULARISATION = 0.1  # scikit-learn's C, on standardised features
FOLDS = 5
SEEDS = range(10)
GROUP_LETTERS = 60  # posts whose first letters agree (digits and signs ignored) count as duplicates


@dataclass(frozen=True)
class LabelledPost:
    """One rated post; ``label`` is 0 bearish, 1 neutral, 2 bullish."""

    post: Post
    label: int

    @property
    def group(self) -> str:
        """Key shared by duplicates among the posts that calibrate the lexicon: repeated threads differ in numbers and
        at their ends.
        """
        letters = re.sub(r"[\W\d_]+", " ", clean_text(f"{self.post.subject} {self.post.text}").lower()).strip()
        return letters[:GROUP_LETTERS]


def read_labels(path: Path) -> list[LabelledPost]:
    """Read the rated posts that calibrate the lexicon from a JSONL file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        LabelledPost(Post(row["subject"] or "", row["text_snapshot"] or ""), row["sentiment_rating"] - 1)
        for row in rows
        if not row.get("skipped") and row["sentiment_rating"] in (1, 2, 3)
    ]


def cross_validate(labelled: Sequence[LabelledPost], seeds: Sequence[int] = SEEDS) -> list[Evaluation]:
    """Return one evaluation of the lexicon for each seed, with every post scored by a model trained without it and its
    duplicates.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    values, labels = _design(labelled)
    groups = [item.group for item in labelled]
    evaluations = []
    for seed in seeds:
        scores: list[Score | None] = [None] * len(labels)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(values, labels, groups):
            calibration = fit([values[i] for i in train], [labels[i] for i in train])
            for i in test:
                scores[i] = calibration.score(values[i])
        evaluations.append(evaluate([score for score in scores if score], labels))
    return evaluations


def fit(
    values: Sequence[Sequence[float]], labels: Sequence[int], class_weights: Mapping[int, float] | None = None
) -> Calibration:
    """Fit the regression that calibrates the lexicon, by default with the natural class frequencies; the
    standardisation is folded into the weights.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=5000, class_weight=class_weights)
    model.fit(scaler.transform(values), labels)
    weights = model.coef_ / scaler.scale_
    intercepts = model.intercept_ - weights @ scaler.mean_
    bearish, neutral, bullish = np.round(np.column_stack([weights, intercepts]), 6).tolist()
    against_neutral = [[round(a - b, 6) for a, b in zip(row, neutral, strict=True)] for row in (bearish, bullish)]
    return Calibration(
        bearish=tuple(against_neutral[0][:-1]),
        bullish=tuple(against_neutral[1][:-1]),
        bearish_intercept=against_neutral[0][-1],
        bullish_intercept=against_neutral[1][-1],
    )


def summarise(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return the means of the lexicon's evaluations over the seeds."""
    return {
        name: round(statistics.fmean(getattr(evaluation, name) for evaluation in evaluations), 4)
        for name in ("accuracy", "macro_f1", "ece", "bull_bear_auc")
    }


def calibration_file(calibration: Calibration, provenance: dict[str, Any]) -> str:
    """Return the content of ``calibration.json``, the lexicon's calibration."""
    return json.dumps({"provenance": provenance, **calibration.to_json()}, indent=1) + "\n"


def _design(labelled: Sequence[LabelledPost]) -> tuple[list[tuple[float, ...]], list[int]]:
    reader = make_stance_reader()
    return [features(item.post, reader) for item in labelled], [item.label for item in labelled]


def _provenance(
    path: Path, labelled: Sequence[LabelledPost], evaluations: Sequence[Evaluation], day: date
) -> dict[str, Any]:
    return {
        "labels": path.name,
        "labels_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "n": len(labelled),
        "bearish_neutral_bullish": [sum(item.label == k for item in labelled) for k in range(3)],
        "fitted_on": day.isoformat(),
        "method": "multinomial logistic regression, natural prior, standardised features, "
        f"L2 with C={INVERSE_REGULARISATION}",
        "cross_validation": f"{FOLDS} folds, duplicates grouped, mean over {len(evaluations)} seeds",
        "cross_validated": summarise(evaluations),
    }


def main() -> None:
    """Fit the lexicon's calibration, write it and print the metrics."""
    parser = argparse.ArgumentParser(description="Fit the lexicon scorer's calibration to rated posts.")
    parser.add_argument("labels", type=Path, help="JSONL: sentiment_rating, subject, text_snapshot")
    parser.add_argument("--dry-run", action="store_true", help="report only, write nothing")
    arguments = parser.parse_args()
    labelled = read_labels(arguments.labels)
    evaluations = cross_validate(labelled)
    provenance = _provenance(arguments.labels, labelled, evaluations, utc_now().date())
    values, labels = _design(labelled)
    content = calibration_file(fit(values, labels), provenance)
    print(json.dumps(provenance, indent=1))  # noqa: T201
    print("confusion of the first seed (rows: rated, columns: said):", evaluations[0].confusion)  # noqa: T201
    if not arguments.dry_run:
        temporary = CALIBRATION_FILE.with_suffix(".tmp")
        temporary.write_text(content, encoding="utf-8")
        os.replace(temporary, CALIBRATION_FILE)


if __name__ == "__main__":
    main()
