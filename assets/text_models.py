"""The text models, one asset each: a baseline, encoders as they are and fine-tuned, and the mean of several."""

import dagster as dg

from assets.trained import POOL, train_text_model
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse


def _text_model(name: str, recipe: str, libraries: tuple[str, ...], description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        deps=["human_labels", "auto_labels"],
        group_name="training",
        owners=["team:bizcharts"],
        kinds={"python", *libraries},
        code_version="1",
        pool=POOL,
        description=description,
    )
    def made(
        context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
    ) -> dg.MaterializeResult:
        return train_text_model(context, warehouse, training, recipe, runpod)

    return made


tfidf_model = _text_model(
    "tfidf_model",
    "tfidf",
    ("scikitlearn",),
    "TF-IDF over words and characters with logistic regression: the baseline that every other model has to beat. "
    "Trained on the labels of people and of trusted models, never on gold; stored as plain numbers, no pickle.",
)
minilm_model = _text_model(
    "minilm_model",
    "minilm",
    ("scikitlearn", "pytorch"),
    "The sentence encoder of `BIZCHARTS_SETFIT_BASE` as it is, and logistic regression on its vectors: what SetFit "
    "has to do better than.",
)
text_ensemble = _text_model(
    "text_ensemble",
    "ensemble",
    ("scikitlearn", "pytorch"),
    "The mean of TF-IDF, frozen encoder and lexicon, each trained on the same posts: they err on different ones. "
    "docs/training-flow.md says what each brings.",
)
setfit_model = _text_model(
    "setfit_model",
    "setfit",
    ("huggingface", "pytorch"),
    "SetFit: the sentence encoder of `BIZCHARTS_SETFIT_BASE` learns which labelled posts belong together, then a "
    "logistic regression tells the classes apart. Minutes on a CPU, and offline: the default encoder comes in a "
    "package. With `text_on_pod`, it trains on a pod.",
)
cryptobert_adapter = _text_model(
    "cryptobert_adapter",
    "cryptobert",
    ("huggingface", "pytorch"),
    "A LoRA adapter for CryptoBERT (a RoBERTa that was trained on posts about coins). Its weights are fetched only "
    "where that is allowed; where they are not at hand this says what is missing, and nothing is registered. "
    "With `text_on_pod`, it trains on a pod.",
)
