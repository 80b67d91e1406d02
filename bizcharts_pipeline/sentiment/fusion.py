"""Model of kind ``fusion``: text, picture, the text in the picture, and context, pooled.

Each part gives probabilities; their logarithms are averaged with the parts' weights, renormalised over the parts that a
post has (a logarithmic opinion pool, Heskes 1998). A post whose picture has no features is scored by the text part
alone, exactly as without this model.

Text and picture can contradict each other, as in an ironic post. The *sarcasm score* is the probability that one is
bullish and the other bearish, taking the two as independent. From ``SARCASTIC`` on, a model that ``inverts`` exchanges
bullish and bearish of the text; training turns this on only if it proves better on labelled posts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import TextModel
from bizcharts_pipeline.sentiment.context import ContextModel
from bizcharts_pipeline.sentiment.ensemble import EnsembleModel
from bizcharts_pipeline.sentiment.image import ImageModel, features_of_post
from bizcharts_pipeline.sentiment.scorer import BATCH, Post, Score, WaitsFor
from bizcharts_pipeline.sentiment.temperature import Floats, at_temperature, log_softmax
from bizcharts_pipeline.sentiment.vectors import Store

PARTS = ("text", "image", "ocr", "context")
BASELINE: Mapping[str, float] = {"text": 0.5, "image": 0.3, "ocr": 0.1, "context": 0.1}
SARCASTIC = 0.5  # sarcasm score
POOL = "pool.json"
CONTEXT_WEIGHTS = "context.safetensors"


@dataclass(frozen=True)
class Pool:
    """How the parts are pooled."""

    weights: tuple[float, ...]  # of PARTS; they sum to 1
    text_temperature: float  # of the text part alone
    temperature: float  # of the pooled parts
    inverts: bool  # whether the text is read in reverse from SARCASTIC on
    why: Mapping[str, Any]  # figures of the choice, out of fold

    def log_probabilities(self, parts: Floats) -> Floats:
        """Return the log-probabilities of the sentiment of posts with features, (posts, 3), from the (posts, parts, 3)
        of :meth:`FusionParts.log_probabilities`.
        """
        if self.inverts:
            parts = inverted(parts)
        return log_softmax(pooled(parts, self.weights) / self.temperature)


@dataclass(frozen=True)
class FusionParts:
    """The models of the parts; the text model also reads the text in the picture."""

    text: TextModel
    image: ImageModel
    context: ContextModel

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the sentiment classes by part, such as text and picture: (posts, parts, 3);
        NaN where a post lacks the part. Of a post without features only the text counts.
        """
        found = np.full((len(posts), len(PARTS), 3), np.nan)
        seen = [place for place, post in enumerate(posts) if features_of_post(post) is not None]
        ocr = {place: text for place in seen if (text := _ocr_text(posts[place]))}
        read = self.text.log_probabilities([*posts, *(Post("", text) for text in ocr.values())])
        found[:, 0] = read[: len(posts)]
        if seen:
            with_picture = [posts[place] for place in seen]
            found[seen, 1] = self.image.log_probabilities(with_picture)
            found[seen, 3] = self.context.log_probabilities(with_picture)
        if ocr:
            found[list(ocr), 2] = read[len(posts) :]
        silent = [place for place in seen if not f"{posts[place].subject}{posts[place].text}".strip()]
        found[silent, 0] = np.nan
        return found


@dataclass(frozen=True)
class FusionModel:
    """The parts and their pool."""

    parts: FusionParts
    pool: Pool

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the fusion model's calibrated log-probabilities of the sentiment classes: (posts, 3)."""
        parts = self.parts.log_probabilities(posts)
        seen = ~np.isnan(parts[:, 1, 0])
        found = np.empty((len(posts), 3))
        found[~seen] = log_softmax(parts[~seen, 0] / self.pool.text_temperature)
        found[seen] = self.pool.log_probabilities(parts[seen])
        return found

    def save(self, folder: Path) -> None:
        """Write the parts of the fusion model into their folders, and the pool."""
        from safetensors.numpy import save_file

        for name, part in (("text", self.parts.text), ("image", self.parts.image)):
            (folder / name).mkdir()
            part.save(folder / name)
        context = self.parts.context
        save_file({"weights": context.weights, "intercepts": context.intercepts}, folder / CONTEXT_WEIGHTS)
        (folder / POOL).write_text(json.dumps(asdict(self.pool), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, store: Store | None = None) -> "FusionModel":
        """Read the fusion model from the files of :meth:`save`; ``store`` as in :class:`EncoderModel`."""
        from safetensors.numpy import load_file

        parts = FusionParts(
            EnsembleModel.load(folder / "text", store),
            ImageModel.load(folder / "image"),
            ContextModel(**load_file(folder / CONTEXT_WEIGHTS)),
        )
        pool = json.loads((folder / POOL).read_bytes())
        return cls(parts, Pool(**pool | {"weights": tuple(pool["weights"])}))


class PictureScorer:
    """Adapts a model that reads features of pictures to the scorer protocol. The method of a post without them says
    what it was scored by; if they may still come, its score waits for them."""

    def __init__(self, kind: str, model_version: str, model: TextModel, temperature: float, without: str) -> None:
        """Wrap a loaded model. ``without``: what it scores a post without features by."""
        self.kind, self.model_version, self.batch = kind, model_version, BATCH
        self._model, self._temperature, self._without = model, temperature, without

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one sentiment score for each post, by its picture too, in order. Any text is accepted; only the start
        of a long one is read.
        """
        if not posts:
            return []
        rows = at_temperature(self._model.log_probabilities(posts), self._temperature).tolist()
        return [self._score(Score(*row), post) for row, post in zip(rows, posts, strict=True)]

    def _score(self, score: Score, post: Post) -> Score:
        if features_of_post(post) is not None:
            return score
        awaited = post.picture is not None and post.picture.state in ("stored", "waiting", "late")
        waits_for: WaitsFor | None = "features" if awaited else None
        return replace(score, method=f"{self.kind} ({self._without})", waits_for=waits_for)


def pooled(parts: Floats, weights: Sequence[float] | Floats) -> Floats:
    """Return the weighted mean of the log-probabilities by text, by picture and by other parts, over the parts that
    each post has: (posts, 3).
    """
    present = ~np.isnan(parts[:, :, 0])
    weight = np.where(present, np.asarray(weights), 0.0)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray((np.nan_to_num(parts) * weight[:, :, None]).sum(axis=1))


def sarcasm(parts: Floats) -> Floats:
    """Return how much each post's picture contradicts the sentiment of its text, 0 to 1; 0 without text or picture:
    (posts,).
    """
    text, image = np.exp(parts[:, 0]), np.exp(parts[:, 1])
    return np.asarray(np.nan_to_num(text[:, 0] * image[:, 2] + text[:, 2] * image[:, 0]))


def inverted(parts: Floats) -> Floats:
    """Return the log-probabilities by part with bullish and bearish of the text exchanged where the sarcasm score is
    high.
    """
    found = parts.copy()
    ironic = sarcasm(parts) >= SARCASTIC
    found[ironic, 0] = parts[ironic, 0][:, ::-1]
    return found


def _ocr_text(post: Post) -> str:
    features = features_of_post(post)
    return (features.ocr_text or "").strip() if features else ""
