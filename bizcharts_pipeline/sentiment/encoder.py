"""A sentence encoder of BERT's architecture in plain NumPy, which maps a text to a vector of length 1.

Scoring runs every minute in a new process, and importing PyTorch alone takes longer than scoring a minute's posts. The
forward pass is that of Devlin et al. (2019); pooling is Reimers and Gurevych's (2019), the mean over the tokens or the
first token. Tests compare it with sentence-transformers.

:meth:`BertEncoder.from_base` reads a folder of sentence-transformers, for training; :meth:`BertEncoder.save` writes the
files for scoring, with the weights in half precision.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.core.errors import BizchartsError, reason_of

Single = NDArray[np.float32]

BATCH = 16  # texts per batch, of similar length: small enough for the processor's cache
ROWS = 64  # tokens at once in the widest layer

WEIGHTS, TOKENIZER, SHAPE = "encoder.safetensors", "tokenizer.json", "encoder.json"
WEIGHTS_OF_BASE = "model.safetensors"


class UnusableEncoder(BizchartsError):
    """The folder has no sentence encoder, or one that cannot run here."""


@dataclass(frozen=True)
class Shape:
    """Properties of an encoder that its weights do not determine."""

    layers: int
    heads: int
    epsilon: float  # of the layer normalisation
    pooling: str  # 'mean' or 'cls'
    tokens: int  # maximum number of tokens read from a text


class BertEncoder:
    """A loaded sentence encoder."""

    def __init__(self, shape: Shape, weights: Mapping[str, Single], tokenizer: str) -> None:
        """Use weights named as in Hugging Face's BertModel; ``tokenizer`` is the content of tokenizer.json.

        The weights are first rounded to half precision, as :meth:`save` writes them.
        """
        self.shape, self._tokenizer_json = shape, tokenizer
        used = {name: weights[name] for name in _names(shape.layers)}
        self._half = {name: np.ascontiguousarray(array, np.float16) for name, array in used.items()}
        self._weights = {name: np.asarray(array, np.float32) for name, array in self._half.items()}

    @classmethod
    def from_base(cls, folder: Path, tokens: int) -> "BertEncoder":
        """Read a folder of sentence-transformers; of each text, ``tokens`` will be read.

        Raises:
            UnusableEncoder: a file is missing, or the architecture is different.
        """
        from safetensors.numpy import load_file

        shape = base_shape(folder, tokens)
        try:
            weights = {name.removeprefix("bert."): array for name, array in load_file(folder / WEIGHTS_OF_BASE).items()}
            return cls(shape, weights, (folder / TOKENIZER).read_text(encoding="utf-8"))
        except (OSError, KeyError) as error:
            raise UnusableEncoder(f"{folder}: not the files of a sentence encoder ({reason_of(error)})") from None

    @classmethod
    def load(cls, folder: Path) -> "BertEncoder":
        """Read the files of :meth:`save`."""
        from safetensors.numpy import load_file

        shape = Shape(**json.loads((folder / SHAPE).read_bytes()))
        return cls(shape, load_file(folder / WEIGHTS), (folder / TOKENIZER).read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write shape, weights and tokeniser into the existing ``folder``."""
        from safetensors.numpy import save_file

        save_file(self._half, folder / WEIGHTS)
        (folder / TOKENIZER).write_text(self._tokenizer_json, encoding="utf-8")
        (folder / SHAPE).write_text(json.dumps(asdict(self.shape)) + "\n", encoding="utf-8")

    def with_weights(self, weights: Mapping[str, Single]) -> "BertEncoder":
        """Return an encoder of the same shape and tokeniser with other weights."""
        return BertEncoder(self.shape, weights, self._tokenizer_json)

    def encode(self, texts: Sequence[str]) -> Single:
        """Return one vector of length 1 for each text: (texts, dimensions)."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(tokens), self._weights[_WORDS].shape[1]), np.float32)
        by_length = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        for start in range(0, len(by_length), BATCH):
            members = by_length[start : start + BATCH]
            vectors[members] = self._forward([tokens[i] for i in members])
        return vectors

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._tokenizer_json)
        tokenizer.enable_truncation(self.shape.tokens)
        tokenizer.no_padding()
        return tokenizer

    def _forward(self, rows: Sequence[Sequence[int]]) -> Single:
        """Return the vectors of texts given as token ids; the tokens of all texts are in one matrix (texts * length,
        …)."""
        texts, length = len(rows), max(map(len, rows))
        ids, there = np.zeros((texts, length), np.int64), np.zeros((texts, length), np.float32)
        for i, row in enumerate(rows):
            ids[i, : len(row)], there[i, : len(row)] = row, 1
        hidden = self._weights[_WORDS][ids] + self._weights[_PLACES][:length] + self._weights[_TYPES][0]
        hidden = self._normalised(hidden.reshape(texts * length, -1), "embeddings.LayerNorm")
        unseen = ((there - 1) * np.float32(1e9))[:, None, None, :]
        for layer in range(self.shape.layers):
            name = f"encoder.layer.{layer}."
            attended = self._attention(hidden, unseen, name)
            hidden = self._normalised(
                hidden + self._linear(attended, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
            )
            wide = _gelu(self._linear(hidden, f"{name}intermediate.dense"))
            hidden = self._normalised(hidden + self._linear(wide, f"{name}output.dense"), f"{name}output.LayerNorm")
        hidden = hidden.reshape(texts, length, -1)
        vectors = hidden[:, 0] if self.shape.pooling == "cls" else (hidden * there[..., None]).sum(axis=1)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _attention(self, hidden: Single, unseen: Single, name: str) -> Single:
        texts, length, heads = unseen.shape[0], unseen.shape[-1], self.shape.heads
        query, key, value = (
            self._linear(hidden, f"{name}attention.self.{part}").reshape(texts, length, heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) * np.float32(query.shape[-1] ** -0.5) + unseen
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.asarray((scores @ value).transpose(0, 2, 1, 3).reshape(texts * length, -1))

    def _linear(self, values: Single, name: str) -> Single:
        return np.asarray(values @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _normalised(self, values: Single, name: str) -> Single:
        centred = values - values.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(self.shape.epsilon))
        return np.asarray(centred / deviation * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


_WORDS, _PLACES, _TYPES = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type"))


def base_shape(folder: Path, tokens: int) -> Shape:
    """Return the shape of a folder of sentence-transformers.

    Raises:
        UnusableEncoder: a file is missing, or the architecture is not supported.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        modules = [module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_bytes())]
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise UnusableEncoder(f"{folder}: not a folder of sentence-transformers ({reason_of(error)})") from None
    modes = {"cls": pooling.get("pooling_mode_cls_token"), "mean": pooling.get("pooling_mode_mean_tokens")}
    mode = pooling.get("pooling_mode") or "+".join(name for name, on in modes.items() if on)
    architecture = config.get("model_type"), config.get("hidden_act"), config.get("position_embedding_type", "absolute")
    if architecture != ("bert", "gelu", "absolute") or mode not in modes or modules[2:] not in ([], ["Normalize"]):
        raise UnusableEncoder(
            f"{folder}: {architecture}, pooling {mode!r}, modules {modules}: only BERT's architecture with mean "
            "or first-token pooling is supported, as in all-MiniLM, e5 and bge"
        )
    tokens = min(tokens, int(config["max_position_embeddings"]))
    epsilon = float(config["layer_norm_eps"])
    return Shape(int(config["num_hidden_layers"]), int(config["num_attention_heads"]), epsilon, mode, tokens)


def _names(layers: int) -> Iterator[str]:
    yield from (_WORDS, _PLACES, _TYPES, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts += ["attention.output.dense", "attention.output.LayerNorm"]
    parts += ["intermediate.dense", "output.dense", "output.LayerNorm"]
    for layer in range(layers):
        for part in parts:
            yield from (f"encoder.layer.{layer}.{part}.{what}" for what in ("weight", "bias"))


def _gelu(values: Single) -> Single:
    """Gaussian error linear unit, in place. The error function is Abramowitz and Stegun's 7.1.26, with an error of at
    most 1.5e-7, the order of single precision."""
    for start in range(0, len(values), ROWS):
        x = values[start : start + ROWS]
        a = np.abs(x) * np.float32(0.5**0.5)
        t = 1 / (1 + np.float32(0.3275911) * a)
        tail = np.full_like(t, 1.061405429)
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail *= t
            tail += np.float32(coefficient)
        tail *= t
        a *= a
        tail *= np.exp(-a, out=a)
        x *= np.float32(0.5) * (1 + np.copysign(1 - tail, x))
    return values
