"""A sentence encoder of BERT's architecture, which maps a text to a vector of length 1; run by ONNX Runtime.

Scoring runs every minute in a new process, and importing PyTorch alone takes longer than scoring a minute's posts. The
architecture is that of Devlin et al. (2019); pooling is Reimers and Gurevych's (2019), the mean over the tokens or the
first token. Tests compare it with sentence-transformers.

:meth:`BertEncoder.from_base` reads a folder of sentence-transformers, for training; :meth:`BertEncoder.save` writes the
files for scoring, with the weights in half precision. The ONNX graph is built from the weights when the first text is
encoded, and is stored nowhere: no file can name other files or operators for the runtime to load.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.sentiment.onnx_graph import RUNTIME, Graph

Single = NDArray[np.float32]

BATCH = 8  # texts per batch, of the same length: small enough for the processor's cache
THREADS = 4
# The largest integer that a weight becomes. Processors without VNNI add two products of an activation (0 to 255) and a
# weight in 16 bits, and would cut off larger sums.
LARGEST = 63

WEIGHTS, TOKENIZER, SHAPE = "encoder.safetensors", "tokenizer.json", "encoder.json"
WEIGHTS_OF_BASE = "model.safetensors"
VERSION = 1  # changes with any change of the code that changes a vector
_FLOAT = 1  # TensorProto.FLOAT


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
    bits: int = 32  # of the factors in the products with weights: 32, or 8, which is several times as fast


class BertEncoder:
    """A loaded sentence encoder."""

    def __init__(self, shape: Shape, weights: Mapping[str, Single], tokenizer: str) -> None:
        """Use weights named as in Hugging Face's BertModel; ``tokenizer`` is the content of tokenizer.json.

        The weights are first rounded to half precision, as :meth:`save` writes them.
        """
        self.shape, self._tokenizer_json = shape, tokenizer
        self._half = {name: np.ascontiguousarray(weights[name], np.float16) for name in weight_names(shape.layers)}

    @classmethod
    def from_base(cls, folder: Path, tokens: int, bits: int) -> "BertEncoder":
        """Read the text encoder from a folder of sentence-transformers; of each text, ``tokens`` will be read.

        ``bits`` is 8 or 32, as in :class:`Shape`.

        Raises:
            UnusableEncoder: a file is missing, or the architecture is different.
        """
        from safetensors.numpy import load_file

        shape = base_shape(folder, tokens, bits)
        try:
            weights = {name.removeprefix("bert."): array for name, array in load_file(folder / WEIGHTS_OF_BASE).items()}
            return cls(shape, weights, (folder / TOKENIZER).read_text(encoding="utf-8"))
        except (OSError, KeyError) as error:
            raise UnusableEncoder(f"{folder}: not the files of a sentence encoder ({reason_of(error)})") from None

    @classmethod
    def load(cls, folder: Path) -> "BertEncoder":
        """Read the text encoder from the files of :meth:`save`."""
        from safetensors.numpy import load_file

        shape = Shape(**json.loads((folder / SHAPE).read_bytes()))
        return cls(shape, load_file(folder / WEIGHTS), (folder / TOKENIZER).read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write the text encoder's shape, weights and tokeniser into the existing ``folder``."""
        from safetensors.numpy import save_file

        save_file(self._half, folder / WEIGHTS)
        (folder / TOKENIZER).write_text(self._tokenizer_json, encoding="utf-8")
        (folder / SHAPE).write_text(json.dumps(asdict(self.shape)) + "\n", encoding="utf-8")

    def with_weights(self, weights: Mapping[str, Single]) -> "BertEncoder":
        """Return a text encoder of the same shape and tokeniser with other weights."""
        return BertEncoder(self.shape, weights, self._tokenizer_json)

    @property
    def dimensions(self) -> int:
        """The length of the vector of a text."""
        return int(self._half[_WORDS].shape[1])

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all that the encoder's vector of a text depends on."""
        found = hashlib.sha256(f"{VERSION} {json.dumps(asdict(self.shape))} {self._tokenizer_json}".encode())
        for name, array in self._half.items():
            found.update(f"{name} {array.shape}".encode())
            found.update(array.data)
        return found.digest()

    def encode(self, texts: Sequence[str]) -> Single:
        """Return the text encoder's vector of length 1 for each text: (texts, dimensions)."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        batches = list(self._batches([len(row) for row in tokens]))
        session = self._session

        def pooled(batch: Sequence[int]) -> Single:
            (hidden,) = session.run(None, {"ids": np.array([tokens[i] for i in batch])})
            return np.asarray(hidden[:, 0] if self.shape.pooling == "cls" else hidden.sum(axis=1), np.float32)

        vectors = np.empty((len(tokens), self.dimensions), np.float32)
        with ThreadPoolExecutor(threads()) as pool:
            for batch, found in zip(batches, pool.map(pooled, batches), strict=True):
                vectors[batch] = found
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the indices of texts, given by their numbers of tokens, that are encoded together, so that no text's
        vector depends on the others.

        Padding would change a vector. So would another text where activations are rounded to 8 bits, as the step of
        the rounding is computed for all activations of a batch.
        """
        if self.shape.bits == 8:
            yield from ([i] for i in range(len(lengths)))
            return
        by_length = defaultdict(list)
        for i, length in enumerate(lengths):
            by_length[length].append(i)
        for same in by_length.values():
            yield from (same[start : start + BATCH] for start in range(0, len(same), BATCH))

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._tokenizer_json)
        tokenizer.enable_truncation(self.shape.tokens)
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = 1, 1  # batches, not parts of them, run at once
        return onnxruntime.InferenceSession(
            bert_graph(self.shape, self._half), options, providers=["CPUExecutionProvider"]
        )


_WORDS, _PLACES, _TYPES = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type"))


def base_shape(folder: Path, tokens: int, bits: int) -> Shape:
    """Return the shape of the text encoder in a folder of sentence-transformers.

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
    return Shape(int(config["num_hidden_layers"]), int(config["num_attention_heads"]), epsilon, mode, tokens, bits)


def weight_names(layers: int) -> Iterator[str]:
    """Yield the names of the text encoder's weights that are used, as in Hugging Face's BertModel."""
    yield from (_WORDS, _PLACES, _TYPES, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts += ["attention.output.dense", "attention.output.LayerNorm"]
    parts += ["intermediate.dense", "output.dense", "output.LayerNorm"]
    for layer in range(layers):
        for part in parts:
            yield from (f"encoder.layer.{layer}.{part}.{what}" for what in ("weight", "bias"))


def bert_graph(shape: Shape, weights: Mapping[str, NDArray[np.float16]]) -> bytes:
    """Return the text encoder as an ONNX model that computes in single precision or, with ``shape.bits`` 8, multiplies
    activations and weights as integers: the weights of each output have one step, all activations of a run another.

    Its input ``ids`` are texts of the same number of tokens: (texts, length), int64. Its output has a
    vector for each token: (texts, length, dimensions).
    """
    graph = Graph()
    ids = graph.input("ids", np.int64, ["texts", "length"])
    size = weights[_WORDS].shape[1]
    zero = graph.constant("zero", np.array([0]))
    per_text = graph.add("Shape", ids)
    length = graph.add("Shape", ids, start=1)
    # The tokens of all texts are rows of one matrix, but for the attention, which is within a text and by heads.
    rows = graph.constant("rows", np.array([-1, size]))
    heads = graph.add("Concat", per_text, graph.constant("heads", np.array([shape.heads, -1])), axis=0)

    def weight(name: str) -> str:
        return graph.add("Cast", graph.constant(name, weights[name]), to=_FLOAT)

    def linear(values: str, name: str) -> str:
        if shape.bits == 8:
            integers, steps = in_eight_bits(weights[f"{name}.weight"])
            factors = graph.constant(f"{name}.integers", integers), graph.constant(f"{name}.steps", steps)
            return graph.add("DynamicQuantizeMatMul", values, *factors, "", weight(f"{name}.bias"), domain=RUNTIME)
        return graph.add("Gemm", values, weight(f"{name}.weight"), weight(f"{name}.bias"), transB=1)

    def normalised(values: str, name: str) -> str:
        parts = weight(f"{name}.weight"), weight(f"{name}.bias")
        return graph.add("LayerNormalization", values, *parts, epsilon=shape.epsilon)

    def by_head(values: str, *order: int) -> str:
        return graph.add("Transpose", graph.add("Reshape", values, heads), perm=order)

    places = graph.constant("places", weights[_PLACES].astype(np.float32) + weights[_TYPES][0].astype(np.float32))
    words = graph.add("Cast", graph.add("Gather", graph.constant(_WORDS, weights[_WORDS]), ids), to=_FLOAT)
    embedded = graph.add("Add", words, graph.add("Slice", places, zero, length, zero))
    hidden = normalised(graph.add("Reshape", embedded, rows), "embeddings.LayerNorm")
    scale = graph.constant("scale", np.array([(size // shape.heads) ** -0.5], np.float32))
    for layer in range(shape.layers):
        name = f"encoder.layer.{layer}."
        query = by_head(linear(hidden, f"{name}attention.self.query"), 0, 2, 1, 3)
        key = by_head(linear(hidden, f"{name}attention.self.key"), 0, 2, 3, 1)
        value = by_head(linear(hidden, f"{name}attention.self.value"), 0, 2, 1, 3)
        scores = graph.add("Mul", graph.add("MatMul", query, key), scale)
        attended = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
        attended = graph.add("Reshape", graph.add("Transpose", attended, perm=[0, 2, 1, 3]), rows)
        attended = linear(attended, f"{name}attention.output.dense")
        hidden = normalised(graph.add("Add", hidden, attended), f"{name}attention.output.LayerNorm")
        wide = linear(graph.add("Gelu", linear(hidden, f"{name}intermediate.dense")), f"{name}output.dense")
        hidden = normalised(graph.add("Add", hidden, wide), f"{name}output.LayerNorm")
    hidden = graph.add(
        "Reshape", hidden, graph.add("Concat", per_text, graph.constant("size", np.array([size])), axis=0)
    )
    graph.output(hidden, np.float32, ["texts", "length", size])
    return graph.model()


def in_eight_bits(weight: NDArray[np.float16]) -> tuple[NDArray[np.int8], Single]:
    """Return a weight matrix of the text encoder (outputs, inputs) as integers (inputs, outputs), and the step of each
    output."""
    exact = weight.astype(np.float32)
    steps = np.abs(exact).max(axis=1) / np.float32(LARGEST)
    steps[steps == 0] = 1
    return np.rint(exact / steps[:, None]).astype(np.int8).T, steps


def threads() -> int:
    """Return how many threads a text encoder runs on: as many as ``OMP_NUM_THREADS`` says for all numerical
    libraries.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else min(THREADS, os.cpu_count() or 1)
