"""Trains an adapter for CryptoBERT: ``python code/train_cryptobert.py data/spec.json``.

``spec.json``: ``base``, ``revision``, ``seed``, and the fields of :class:`bert_lora.LoraSettings`. See `text_job` for
the data and `outcome` for the exit statuses.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import bert_lora
import numpy as np
import text_job
from messages import Say
from outcome import BadInput, Diverged
from text_base import fetch_base, fingerprint


class Adapted:
    """A base with its adapter."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int, base_sha256: str) -> None:
        self._model, self._tokenizer, self._tokens, self._base_sha256 = model, tokenizer, tokens, base_sha256

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(bert_lora.log_probabilities(self._model, self._tokenizer, texts, self._tokens))

    def save(self, folder: Path) -> None:
        bert_lora.save(self._model, self._tokenizer, folder)
        about = {"base_sha256": self._base_sha256, "tokens": self._tokens}
        (folder / "cryptobert.json").write_text(json.dumps(about) + "\n")


def prepare(spec: dict[str, Any], say: Say) -> tuple[text_job.Train, dict[str, Any]]:
    """Return the training function of CryptoBERT, and its description for the report."""
    names = {field.name for field in fields(bert_lora.LoraSettings)}
    if unknown := spec.keys() - names - {"base", "revision", "seed"}:
        raise BadInput(f"spec.json: unknown {min(unknown)}")
    lora = bert_lora.LoraSettings(**{name: spec[name] for name in names & spec.keys()})
    base = fetch_base(spec["base"], spec.get("revision"))
    base_sha256 = fingerprint(base)

    def train(texts: list[str], labels: list[int]) -> Adapted:
        try:
            model, tokenizer = bert_lora.fit(
                base, texts, labels, lora, spec["seed"], lambda figures: say("metrics", **figures)
            )
        except bert_lora.Unusable as error:
            raise BadInput(str(error)) from error
        except bert_lora.Diverged as error:
            raise Diverged(str(error)) from error
        return Adapted(model, tokenizer, lora.tokens, base_sha256)

    return train, {"base_sha256": base_sha256, "settings": asdict(lora), "seed": spec["seed"]}


if __name__ == "__main__":
    sys.exit(text_job.main(prepare))
