"""What a pod is sent to train a text model: the files that `training.onpod.text_job` reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.training.onpod import bert_lora
from bizcharts_pipeline.training.recipe import TextExample


def text_files(
    spec: Mapping[str, Any], examples: Sequence[TextExample], gold: Sequence[TextExample]
) -> dict[str, bytes]:
    """Return ``spec.json``, ``text.json`` and ``gold.json``; of gold no label goes along."""
    rows = [{"text": whole_text(each.post), "label": each.label, "group": each.group} for each in examples]
    questions = [{"thread_id": each.thread_id, "text": whole_text(each.post)} for each in gold]
    content = {"spec.json": dict(spec), "text.json": rows, "gold.json": questions}
    return {name: json.dumps(value, indent=1, sort_keys=True).encode() for name, value in content.items()}


def cryptobert_spec(
    base: str, revision: str | None, seed: int, lora: bert_lora.LoraSettings = bert_lora.DEFAULT
) -> dict[str, Any]:
    """Return what ``train_cryptobert.py`` is to do; ``base`` is a hub's name, or a folder on the pod."""
    return {"base": base, "revision": revision, "seed": seed, **asdict(lora)}


def setfit_spec(
    base: str, revision: str | None, shape_of: Path, seed: int, *, tokens: int, pairs: int
) -> dict[str, Any]:
    """Return what ``train_setfit.py`` is to do; ``shape_of`` is a folder on this machine that holds the same base."""
    from bizcharts_pipeline.sentiment.encoder import base_shape
    from bizcharts_pipeline.training.recipes import minilm
    from bizcharts_pipeline.training.recipes.fitting import RARITY

    shape = asdict(base_shape(shape_of, tokens))
    return {
        **{"base": base, "revision": revision, "seed": seed, "tokens": tokens, "pairs": pairs},
        **{"c": minilm.C, "rarity": RARITY, "encoder": shape},
    }
