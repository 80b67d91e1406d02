"""Registers finished trainings in ``model_versions``, with the models' gold scores.

The same files are the same version: a training that reproduces existing files adds nothing. A kind has one candidate,
the newest; the one before it is retired. This module promotes nothing.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.core.files import read_regular, write_atomically
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.models.metrics import Figures, measure
from bizcharts_pipeline.pods.protocol import Finished
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON, Artifact, CorruptModel, model_path, new_model, publish
from bizcharts_pipeline.sentiment.calibrated import CALIBRATION, write_temperature
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.sentiment.temperature import at_temperature
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.fetched import require_runs, take_files
from bizcharts_pipeline.training.gold_set import GoldSet, load_gold_set
from bizcharts_pipeline.training.recipe import BrokenResult, Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.text_set import TextSet, described
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_evaluations import Probabilities, gold_scores, save_gold_scores
from bizcharts_pipeline.warehouse.models import CANDIDATE, ModelVersion, model, register_candidate, set_figures

ADAPTER, REPORT, SCORES = "adapter", "report.json", "scores.json"  # files of a pod's result


@dataclass(frozen=True)
class Registered:
    """A trained model. ``figures`` are on all gold that it scored; ``None`` without gold, or if it cannot run here."""

    model: ModelVersion
    new: bool  # False: an earlier training produced the same files
    figures: Figures | None

    @property
    def model_version(self) -> str:
        """The model's key in ``model_versions``."""
        return self.model.model_version


def train_and_register(
    recipe: Recipe,
    text_set: TextSet,
    *,
    database: Database,
    home: Path,
    seed: int,
    now: datetime,
    run_id: str | None = None,
) -> Registered:
    """Train a model, score gold with it, and register it as the candidate of its kind.

    Raises:
        TrainingError: it could not be trained; nothing was registered.
    """
    started = time.monotonic()
    artifact = fit_and_publish(recipe, text_set.examples, text_set.dataset_version, home, seed)
    row = as_row(artifact, now, seconds=time.monotonic() - started, run_id=run_id)
    gold = load_gold_set(database, home)
    return _register(row, local_scores(row, home, gold), gold, database, now)


def register_fetched(
    finished: Finished,
    recipe: Recipe,
    text_set: TextSet,
    *,
    database: Database,
    home: Path,
    seed: int,
    now: datetime,
    run_id: str | None = None,
) -> Registered:
    """Register a text model trained on a pod as ``recipe`` would on ``text_set``.

    The files of the result's ``adapter/`` become the model's, after a test of loading and scoring.

    Raises:
        BrokenResult: the result is incomplete, or is not a model.
        CorruptModel: it has a file of an unsupported kind, or its outputs are not probabilities.
        TrainingError: it cannot be registered on this machine now.
    """
    try:
        with new_model(home) as scratch, new_model(scratch) as files:  # published there first, for a test
            take_files(finished.folder / ADAPTER, files)
            _write_trained_on(files, described(text_set.examples))
            tried = _publish(recipe, files, text_set.dataset_version, scratch, seed)
            require_runs(scratch, tried.model_version, tried.sha256)
            verified = model_path(scratch, tried.model_version)
            artifact = _publish(recipe, verified, text_set.dataset_version, home, seed)
    except OSError as error:
        raise _not_now(finished.folder, error) from None
    row = as_row(
        artifact,
        now,
        seconds=finished.seconds or None,
        usd=finished.usd if finished.pods else None,
        gpu=finished.gpu,
        run_id=run_id,
    )
    gold = load_gold_set(database, home)
    return _register(row, local_scores(row, home, gold), gold, database, now)


def register_adapter(
    finished: Path,
    dataset: Path,
    *,
    kind: str,
    base_model: str,
    base_revision: str | None,
    dataset_version: str,
    code_version: str,
    seed: int,
    settings: Mapping[str, Any],
    database: Database,
    home: Path,
    now: datetime,
    seconds: float | None = None,
    usd: Decimal | None = None,
    gpu: str | None = None,
    run_id: str | None = None,
    inherited: Sequence[Mapping[str, Any]] = (),
) -> Registered:
    """Register the vision model's adapter fetched from a pod.

    ``finished`` holds ``adapter/``, ``report.json``, and ``scores.json`` with the log-probabilities of gold posts and
    the temperature that calibrates them. ``dataset`` is the ShareGPT folder that it was trained on, ``inherited`` the
    further posts that the adapter it started from was trained on. The files of ``adapter/`` become the model's.

    Raises:
        BrokenResult: the result is incomplete.
        TrainingError: it cannot be registered on this machine now.
        CorruptModel: the adapter has a file of an unsupported kind.
    """
    try:
        scores = json.loads(read_regular(finished / SCORES))
        temperature = float(scores["temperature"])
        given = {int(row["thread_id"]): _calibrated(row["log_p"], temperature) for row in scores.get("gold", [])}
        json.loads(read_regular(finished / REPORT))
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise BrokenResult(
            f"{finished}: the training's result is incomplete or malformed ({reason_of(error):.200})"
        ) from None
    except OSError as error:
        raise _not_now(finished, error) from None
    try:
        learned_from = _rows_learned_from(dataset)
        with new_model(home) as folder:
            take_files(finished / ADAPTER, folder)
            shutil.copyfile(finished / REPORT, folder / REPORT)
            if not (folder / CALIBRATION).exists():  # the adapter's own one also corrects for oversampled classes
                write_temperature(folder, temperature)
            _write_trained_on(folder, [*learned_from, *inherited])
            artifact = publish(
                folder,
                home,
                kind=kind,
                base_model=base_model,
                base_revision=base_revision,
                dataset_version=dataset_version,
                code_version=code_version,
                seed=seed,
                settings=settings,
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_now(finished, error) from None
    row = as_row(artifact, now, seconds=seconds, usd=usd, gpu=gpu, run_id=run_id)
    gold = load_gold_set(database, home)
    known = {thread: p for thread, p in given.items() if thread in gold.truth}
    return _register(row, known or local_scores(row, home, gold), gold, database, now)


def find_registered(database: Database, home: Path, model_version: str) -> Registered | None:
    """Return an earlier registered model, with its metrics on the current gold; ``None`` if there is none."""
    gold = load_gold_set(database, home)
    with database.read() as connection:
        stored, scores = model(connection, model_version), gold_scores(connection).get(model_version, {})
    if stored is None:
        return None
    return Registered(stored, False, _figures(stored, {t: p for t, p in scores.items() if t in gold.truth}, gold))


def fit_and_publish(
    recipe: Recipe, examples: Sequence[TextExample], dataset_version: str, home: Path, seed: int
) -> Artifact:
    """Train a model for the registry, into a new folder below the home, with its list of training posts; it is not
    registered yet."""
    with new_model(home) as folder:
        recipe.fit(examples, folder, seed)
        _write_trained_on(folder, described(examples))
        return _publish(recipe, folder, dataset_version, home, seed)


def _publish(recipe: Recipe, folder: Path, dataset_version: str, home: Path, seed: int) -> Artifact:
    return publish(
        folder,
        home,
        kind=recipe.kind,
        base_model=recipe.base_model,
        base_revision=recipe.base_revision,
        dataset_version=dataset_version,
        code_version=recipe.code_version,
        seed=seed,
        settings=recipe.settings,
    )


def _not_now(finished: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{finished}: the paid result cannot be registered now ({reason_of(error):.200}); it is kept; fix that and run "
        "again"
    )


def as_row(
    artifact: Artifact,
    now: datetime,
    *,
    seconds: float | None = None,
    usd: Decimal | None = None,
    gpu: str | None = None,
    run_id: str | None = None,
) -> ModelVersion:
    """Return the row of a published model as a candidate."""
    return ModelVersion(
        model_version=artifact.model_version,
        kind=artifact.kind,
        base_model=artifact.base_model,
        dataset_version=artifact.dataset_version,
        trained_at=now,
        accuracy=None,
        macro_f1=None,
        status=CANDIDATE,
        path=model_path(Path(), artifact.model_version).as_posix(),
        sha256=artifact.sha256,
        base_revision=artifact.base_revision,
        code_version=artifact.code_version,
        seed=artifact.seed,
        settings=artifact.settings,
        seconds=seconds,
        usd=usd,
        gpu=gpu,
        run_id=run_id,
    )


def local_scores(row: ModelVersion, home: Path, gold: GoldSet) -> dict[int, Probabilities]:
    """Return a registered model's scores of gold posts, by thread; empty if it cannot run on this machine.

    Raises:
        CorruptModel: its files differ from the registered ones, or its outputs are not probabilities.
    """
    assert row.path
    assert row.sha256
    if not gold.examples:
        return {}
    try:
        scorer = load_scorer(home / row.path, row.sha256, home)
        scores = scorer.score([example.post for example in gold.examples])
    except CorruptModel:
        raise
    except (BizchartsError, ImportError):
        return {}
    scored = {example.thread_id: as_triple(score) for example, score in zip(gold.examples, scores, strict=True)}
    for thread, probabilities in scored.items():
        if not are_probabilities(probabilities):
            raise CorruptModel(
                f"the outputs of {row.model_version} for thread {thread} are not probabilities: {probabilities}"
            )
    return scored


def are_probabilities(values: Probabilities) -> bool:
    """Whether the ``values`` that a registered model gives for a post are valid probabilities: NaN, for example, could
    not be compared."""
    return all(0 <= value <= 1 for value in values) and abs(sum(values) - 1) < 1e-6


def as_triple(score: Score) -> Probabilities:
    """Return a registered model's score of a gold post as the stored probabilities."""
    return score.p_bearish, score.p_neutral, score.p_bullish


def _register(
    row: ModelVersion, scores: Mapping[int, Probabilities], gold: GoldSet, database: Database, now: datetime
) -> Registered:
    figures = _figures(row, scores, gold)
    with database.write() as connection:
        new = model(connection, row.model_version) is None
        register_candidate(connection, row)
        if figures:
            save_gold_scores(connection, row.model_version, scores, now)
            set_figures(connection, row.model_version, figures.accuracy.value, figures.macro_f1.value)
        stored = model(connection, row.model_version)
    assert stored
    return Registered(stored, new, figures)


def _figures(row: ModelVersion, scores: Mapping[int, Probabilities], gold: GoldSet) -> Figures | None:
    if not scores:
        return None
    threads = sorted(scores)
    truth, groups = ([of[thread] for thread in threads] for of in (gold.truth, gold.groups))
    return measure([Score(*scores[thread]) for thread in threads], truth, groups, row.seed or 0)


def _write_trained_on(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(folder / TRAINED_ON, (json.dumps(rows, indent=0) + "\n").encode())


def _rows_learned_from(dataset: Path) -> list[dict[str, Any]]:
    """Return the posts of both splits of a ShareGPT folder, because validation determines when training stops."""
    rows = [row for split in sharegpt.SPLITS for row in sharegpt.read_rows(dataset, split)]
    abouts = json.loads(read_regular(dataset / sharegpt.ROWS))
    return [
        {
            "thread_id": about["thread_id"],
            "label": STANCES.index(row["messages"][1]["content"]),
            "text_sha256": sharegpt.digest(row["messages"][0]["content"].partition("\n\n")[2].encode()),
            "split": about["split"],
        }
        for about, row in zip(abouts, rows, strict=True)
    ]


def _calibrated(log_p: Sequence[float], temperature: float) -> Probabilities:
    """Return softmax(log p / temperature).

    Raises:
        ValueError: ``log_p`` is not three finite numbers, or the temperature is not positive.
    """
    logits = np.array(log_p, np.float64)
    if logits.shape != (3,) or not np.isfinite(logits).all() or not temperature > 0:
        raise ValueError(f"not three finite log probabilities: {list(log_p)!r:.100} at temperature {temperature}")
    bearish, neutral, bullish = at_temperature(logits, temperature).tolist()
    return bearish, neutral, bullish
