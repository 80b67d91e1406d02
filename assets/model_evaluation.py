"""Evaluation of all models on the same gold posts."""

import hashlib
from typing import TYPE_CHECKING

import dagster as dg

from assets.reporting import Stopwatch
from bizcharts_pipeline.core.clock import utc_now
from resources.training import Training
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.models.evaluate import EvaluationReport


@dg.asset(
    deps=[
        *("human_labels", "tfidf_model", "minilm_model", "text_ensemble", "setfit_model", "cryptobert_adapter"),
        *("image_model", "fusion_model", "qlora_adapter"),
    ],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "Every candidate, the champion and trivial baselines on the same frozen gold posts: accuracy, macro-F1, "
        "recall, calibration, log loss, with 95 % intervals, and the agreement of people. Each candidate is "
        "compared with the champion in a paired test; a model that has seen gold, or whose files were changed, is "
        "listed and excluded. The results are stored in `model_evaluations`; nothing is promoted here."
    ),
)
def model_evaluation(warehouse: Warehouse, training: Training) -> dg.MaterializeResult:
    stopwatch, now = Stopwatch(), utc_now()
    with stopwatch("evaluate"):
        report = training.evaluate(warehouse.open_at(now), now)
    # By kind, not by version, so that the UI draws one curve for all ensembles.
    judged = {
        line.name.rpartition("-")[0] or line.name: line.figures
        for line in report.lines
        if line.figures and line.role != "baseline"
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version(report)),
        metadata={
            "table": dg.MetadataValue.md(report.table),
            "gold_version": report.gold_version,
            "champion": report.champion or "none yet",
            "candidates": len(report.judgements),
            "winners": sum(judgement.wins for judgement in report.judgements),
            **{f"accuracy: {name}": dg.MetadataValue.float(of.accuracy.value) for name, of in judged.items()},
            **{f"macro_f1: {name}": dg.MetadataValue.float(of.macro_f1.value) for name, of in judged.items()},
            **stopwatch.metadata(),
        },
    )


def _version(report: "EvaluationReport") -> str:
    """Return a version that changes with the gold posts and with the evaluated models."""
    names = "\n".join(sorted(line.name for line in report.lines))
    return f"{report.gold_version}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
