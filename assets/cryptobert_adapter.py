"""An adapter for CryptoBERT."""

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
        "A LoRA adapter for CryptoBERT (a RoBERTa that was trained on posts about coins). Its weights are fetched only "
        "where that is allowed; where they are not at hand this says what is missing, and nothing is registered. "
        "With `text_on_pod`, it trains on a pod."
    ),
)
def cryptobert_adapter(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
) -> dg.MaterializeResult:
    return train_text_model(context, warehouse, training, "cryptobert", runpod)
