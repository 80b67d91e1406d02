"""Common parts of the recipes: class weights, the logistic head, and calibration on held-out posts."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment.calibrated import TextModel, write_temperature
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, fit_temperature
from bizcharts_pipeline.training.recipe import TextExample, TrainingError

FOLDS = 5
# Rarer classes weigh more, by the square root of their rarity. In cross-validation, full balance improves macro-F1 too
# little for its increase in log loss, and after temperature scaling the mean probabilities stay near the true shares.
RARITY = 0.5

Train = Callable[[Sequence[TextExample]], TextModel]


def fit_calibrated(
    train: Train, examples: Sequence[TextExample], folder: Path, seed: int, *, folds: int = FOLDS
) -> None:
    """Write the model that ``train`` makes of all examples, and its temperature, into ``folder``.

    The temperature is fitted on predictions of models that did not see the predicted posts or their near-duplicates;
    ``folds`` of the ``FOLDS`` folds are predicted, each by its own model.

    Raises:
        TrainingError: a class has too few examples.
    """
    check(examples)
    judged, predicted = out_of_fold(train, examples, seed, folds=folds)
    temperature = fit_temperature(predicted, [examples[i].label for i in judged])
    train(examples).save(folder)
    write_temperature(folder, temperature)


def check(examples: Sequence[TextExample]) -> None:
    """Raise ``TrainingError`` unless every class has posts for every fold."""
    groups = {(example.label, example.group) for example in examples if not example.pseudo}
    counts = Counter(label for label, _ in groups)
    for label, name in enumerate(STANCES):
        if counts[label] < FOLDS:
            raise TrainingError(
                f"{counts[label]} different {name} posts among {len(examples)} examples; at least {FOLDS} are needed: "
                "label more"
            )


class Predicts(Protocol):
    """A trained model, or several."""

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return a trained model's log-probabilities: one row, or one array, for each post."""
        ...


def out_of_fold(
    train: Callable[[Sequence[TextExample]], Predicts],
    examples: Sequence[TextExample],
    seed: int,
    *,
    folds: int = FOLDS,
) -> tuple[list[int], Floats]:
    """Return the indices of held-out examples, and their log-probabilities by models that saw no near-duplicates of
    them. Posts with a pseudo-label are only trained on."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = [example.label for example in examples], [example.group for example in examples]
    judged: list[int] = []
    predicted = []
    splits = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups)
    for _, (known, held_out) in zip(range(folds), splits, strict=False):
        model = train([examples[i] for i in known])
        labelled = [i for i in held_out.tolist() if not examples[i].pseudo]
        predicted.append(model.log_probabilities([examples[i].post for i in labelled]))
        judged += labelled
    return judged, np.concatenate(predicted)


def class_weights(labels: Sequence[int]) -> dict[int, float]:
    """Return the weight of each class in training; their mean over the posts is 1."""
    counts = Counter(labels)
    weights = {label: (count / len(labels)) ** -RARITY for label, count in counts.items()}
    mean = sum(weights[label] for label in labels) / len(labels)
    return {label: weight / mean for label, weight in weights.items()}


def head(values: Any, labels: Sequence[int], c: float) -> tuple[Floats, Floats]:
    """Return weights and intercepts of a recipe's logistic regression on ``values`` (posts, features); ``c`` is
    scikit-learn's C."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, class_weight=class_weights(labels), max_iter=5_000).fit(values, labels)
    return np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)


def posts_of(examples: Sequence[TextExample]) -> tuple[list[Post], list[int]]:
    """Return posts and labels of the training ``examples``."""
    return [example.post for example in examples], [example.label for example in examples]
