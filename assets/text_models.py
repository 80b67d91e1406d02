"""Models that are trained on this machine, one asset each: of texts, of pictures, and of both."""

import dagster as dg

from assets.trained import POOL, train_text_model
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse


def _text_model(
    name: str, recipe: str, libraries: tuple[str, ...], description: str, deps: tuple[str, ...] = ()
) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        deps=["human_labels", "auto_labels", *deps],
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
    "TF-IDF over words and characters with logistic regression: the baseline for all other models. "
    "Trained on the labels of people and of trusted models, never on gold; stored as plain numbers, no pickle.",
)
minilm_model = _text_model(
    "minilm_model",
    "minilm",
    ("scikitlearn", "pytorch"),
    "The frozen sentence encoder `BIZCHARTS_SETFIT_BASE` with logistic regression on its vectors: the baseline for "
    "SetFit.",
)
text_ensemble = _text_model(
    "text_ensemble",
    "ensemble",
    ("scikitlearn", "pytorch"),
    "The mean of TF-IDF, frozen encoder, the training posts with similar vectors, and lexicon, each trained on the "
    "same posts: their errors differ. With a file in `[ml.transfer]` it also learns a feature from that. "
    "docs/training-flow.md has the figures.",
)
image_model = _text_model(
    "image_model",
    "image",
    ("scikitlearn",),
    "Logistic regression on the features of pictures: colours, kind, the text in the picture, and the last hidden "
    "layer of the packaged network. Trained on labelled posts whose picture has features; if they are too few, the run "
    "reports that and registers nothing.",
    ("image_features",),
)
fusion_model = _text_model(
    "fusion_model",
    "fusion",
    ("scikitlearn", "pytorch"),
    "The text ensemble, the picture, the text in it, and context, pooled with stated weights, or with fitted ones if "
    "these prove better out of fold. A post without a usable picture is scored by its text alone.",
    ("image_features",),
)
setfit_model = _text_model(
    "setfit_model",
    "setfit",
    ("huggingface", "pytorch"),
    "SetFit: the sentence encoder `BIZCHARTS_SETFIT_BASE` is fine-tuned on pairs of labelled posts, then a logistic "
    "regression separates the classes. Takes minutes on a CPU, and works offline: the default encoder is part of a "
    "package. With `text_on_pod`, it trains on a pod.",
)
cryptobert_adapter = _text_model(
    "cryptobert_adapter",
    "cryptobert",
    ("huggingface", "pytorch"),
    "A LoRA adapter for CryptoBERT (a RoBERTa trained on posts about coins). Its weights are downloaded only if that "
    "is allowed; without them, the run reports what is missing, and registers nothing. With `text_on_pod`, it trains "
    "on a pod.",
)
