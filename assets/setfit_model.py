"""A sentence encoder, fine-tuned on pairs of labelled posts."""

import dagster as dg

from assets.trained import POOL, train_text_model
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse


@dg.asset(
    deps=["human_labels", "auto_labels"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "huggingface", "pytorch"},
    code_version="1",
    pool=POOL,
    description=(
        "SetFit: the sentence encoder of `BIZCHARTS_SETFIT_BASE` learns which labelled posts belong together, then a "
        "logistic regression tells the classes apart. Minutes on a CPU, and offline: the default encoder comes in a "
        "package. With `text_on_pod`, on a pod."
    ),
)
def setfit_model(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
) -> dg.MaterializeResult:
    return train_text_model(context, warehouse, training, "setfit", runpod)
