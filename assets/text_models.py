"""Text models that train in seconds: the honest baseline, a frozen encoder, and the mean of several."""

import dagster as dg

from assets.trained import POOL, train_text_model
from resources.training import Training
from resources.warehouse import Warehouse


@dg.asset(
    deps=["human_labels", "auto_labels"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "scikitlearn"},
    code_version="1",
    pool=POOL,
    description=(
        "TF-IDF over words and characters with logistic regression: the baseline that every other model has to beat. "
        "Trained on the labels of people and of trusted models, never on gold; stored as plain numbers, no pickle."
    ),
)
def tfidf_model(context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training) -> dg.MaterializeResult:
    return train_text_model(context, warehouse, training, "tfidf")


@dg.asset(
    deps=["human_labels", "auto_labels"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "scikitlearn", "pytorch"},
    code_version="1",
    pool=POOL,
    description=(
        "The sentence encoder of `BIZCHARTS_SETFIT_BASE` as it is, and logistic regression on its vectors: what SetFit "
        "has to do better than."
    ),
)
def minilm_model(context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training) -> dg.MaterializeResult:
    return train_text_model(context, warehouse, training, "minilm")


@dg.asset(
    deps=["human_labels", "auto_labels"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "scikitlearn", "pytorch"},
    code_version="1",
    pool=POOL,
    description=(
        "The mean of TF-IDF, frozen encoder and lexicon, each trained on the same posts: they err on different ones. "
        "docs/training-flow.md says what each brings."
    ),
)
def text_ensemble(context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training) -> dg.MaterializeResult:
    return train_text_model(context, warehouse, training, "ensemble")
