"""Loads a scorer from a registered model's files."""

from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.artifact import Artifact, read_artifact
from bizcharts_pipeline.sentiment.scorer import Scorer

ENCODERS = {"minilm", "setfit"}
WITH_PICTURES = {"image", "fusion"}  # kinds that read features of a post's picture


class UnknownKind(BizchartsError):
    """This version or this machine cannot run models of that kind."""


def load_scorer(folder: Path, sha256: str, home: Path | None = None) -> Scorer:
    """Return the sentiment scorer in ``folder``, after verifying every file against ``sha256``.

    ``home``: the installation in which vectors of texts are kept; ``None``: they are not kept.

    Raises:
        CorruptModel: the files differ from the registered ones.
        UnknownKind: the kind is not supported, or a required library is missing.
    """
    artifact = read_artifact(folder, sha256)
    try:
        return _scorer(folder, artifact, home)
    except ModuleNotFoundError as error:
        raise UnknownKind(
            f"{folder}: a model of kind {artifact.kind!r} needs {error.name}: run `make install-ml`."
        ) from None


def _scorer(folder: Path, artifact: Artifact, home: Path | None) -> Scorer:
    if artifact.kind == "cryptobert":
        from bizcharts_pipeline.sentiment.cryptobert import load_cryptobert

        return load_cryptobert(folder, artifact)

    from bizcharts_pipeline.sentiment.calibrated import CalibratedScorer, TextModel, read_temperature
    from bizcharts_pipeline.sentiment.vectors import FileStore

    store = FileStore.of_home(home) if home else None

    if artifact.kind in WITH_PICTURES:
        from bizcharts_pipeline.sentiment.fusion import FusionModel, PictureScorer
        from bizcharts_pipeline.sentiment.image import ImageModel

        fused = artifact.kind == "fusion"
        seeing = FusionModel.load(folder, store) if fused else ImageModel.load(folder)
        without = "text only" if fused else "without picture"
        return PictureScorer(artifact.kind, artifact.model_version, seeing, read_temperature(folder), without)

    model: TextModel
    if artifact.kind in ENCODERS:
        from bizcharts_pipeline.sentiment.minilm import EncoderModel

        model = EncoderModel.load(folder, store)
    elif artifact.kind == "tfidf":
        from bizcharts_pipeline.sentiment.tfidf import TfidfModel

        model = TfidfModel.load(folder)
    elif artifact.kind == "lexicon_refit":
        from bizcharts_pipeline.sentiment.lexicon_refit import LexiconModel

        model = LexiconModel.load(folder)
    elif artifact.kind == "ensemble":
        from bizcharts_pipeline.sentiment.ensemble import EnsembleModel

        model = EnsembleModel.load(folder, store)
    else:
        raise UnknownKind(f"{folder}: a model of kind {artifact.kind!r} is not supported by this version")
    return CalibratedScorer(artifact.kind, artifact.model_version, model, read_temperature(folder))
