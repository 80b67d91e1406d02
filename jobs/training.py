"""Training jobs: on this machine, and on a rented GPU."""

import dagster as dg

from assets.champion_model import champion_model
from assets.human_labels import human_labels
from assets.learning_curve import learning_curve
from assets.model_evaluation import model_evaluation
from assets.qlora_adapter import qlora_adapter
from assets.text_models import (
    cryptobert_adapter,
    fusion_model,
    image_model,
    minilm_model,
    setfit_model,
    text_ensemble,
    tfidf_model,
)
from resources.console_log import CONSOLE

TRAINING_MAX_RUNTIME_SECONDS = 2 * 3600
QLORA_MAX_RUNTIME_SECONDS = 48 * 3600  # three pods of six hours, their boots, and the waits for capacity

training = dg.define_asset_job(
    "training",
    selection=dg.AssetSelection.assets(
        *(human_labels, tfidf_model, minilm_model, text_ensemble, image_model, fusion_model, setfit_model),
        *(cryptobert_adapter, learning_curve, model_evaluation, champion_model),
    ),
    description=(
        "Train every model that needs no GPU on the current labels, evaluate all on gold, and promote the best one if "
        "it is significantly better. Rents nothing, unless `text_on_pod` is set."
    ),
    config=CONSOLE,
    tags={"dagster/max_runtime": str(TRAINING_MAX_RUNTIME_SECONDS)},
)

training_qlora = dg.define_asset_job(
    "training_qlora",
    selection=dg.AssetSelection.assets(qlora_adapter, model_evaluation, champion_model),
    description=(
        "Rent a GPU within the budget of [pods], train the vision-language model on the newest data set, evaluate it "
        "on gold with the others, and promote it if it is significantly better. The pod is terminated at the end."
    ),
    config=CONSOLE,
    tags={"dagster/max_runtime": str(QLORA_MAX_RUNTIME_SECONDS)},
)
