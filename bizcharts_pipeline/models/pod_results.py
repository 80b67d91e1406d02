"""Verification and registration of results fetched from a pod, for each kind of training."""

import json
from datetime import datetime
from functools import partial
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.models.registry import (
    REPORT,
    SCORES,
    Registered,
    find_registered,
    register_adapter,
    register_fetched,
)
from bizcharts_pipeline.pods.protocol import Finished
from bizcharts_pipeline.training.pod_job import PodTraining
from bizcharts_pipeline.training.qlora_job import QloraTraining
from bizcharts_pipeline.training.recipe import BrokenResult
from bizcharts_pipeline.training.text_pod_job import TextTraining
from bizcharts_pipeline.warehouse.database import Database

QLORA = "qlora"


def registered_as_text_model(
    training: TextTraining, database: Database, home: Path, now: datetime, run_id: str
) -> PodTraining[Registered]:
    """Return the pod training of a text model, with the registration of its result as a candidate among the models."""

    def register(finished: Finished) -> Registered:
        return register_fetched(
            finished,
            training.recipe,
            training.text_set,
            database=database,
            home=home,
            seed=training.seed,
            now=now,
            run_id=run_id,
        )

    return PodTraining(training.job, home, register, partial(find_registered, database, home))


def registered_as_adapter(
    training: QloraTraining, database: Database, home: Path, now: datetime, run_id: str
) -> PodTraining[Registered]:
    """Return the pod training of the vision model's adapter, with verification and registration of its result as a
    candidate among the models."""

    def register(finished: Finished) -> Registered:
        revision, gpu = _require_complete(finished.folder, training.gold.asked)
        spec = training.spec
        return register_adapter(
            finished.folder,
            training.dataset_folder,
            kind=QLORA,
            base_model=spec["base"],
            base_revision=revision,
            dataset_version=training.dataset.dataset_version,
            code_version=training.code_version,
            seed=spec["seed"],
            settings={name: value for name, value in spec.items() if name not in ("base", "revision", "resume")},
            database=database,
            home=home,
            now=now,
            seconds=finished.seconds or None,
            usd=finished.usd if finished.pods else None,
            gpu=finished.gpu or gpu,
            run_id=run_id,
            inherited=training.continued.inherited if training.continued else (),
        )

    return PodTraining(training.job, home, register, partial(find_registered, database, home))


def _require_complete(folder: Path, required: frozenset[int]) -> tuple[str | None, str | None]:
    """Check that the pod scored every gold post it was sent; return the revision of its base, and its GPU.

    Raises:
        BrokenResult: the result is incomplete, or a gold post was not scored.
    """
    try:
        report = json.loads(read_regular(folder / REPORT))
        revision, gpu = report["revision"], report["gpu"]
        answered = {row["thread_id"] for row in json.loads(read_regular(folder / SCORES))["gold"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise BrokenResult(f"{REPORT} or {SCORES} cannot be read ({reason_of(error):.200})") from None
    if missing := required - answered:  # a model must not choose the posts of its evaluation
        raise BrokenResult(f"{len(missing)} of {len(required)} gold posts were not scored")
    return revision, gpu
