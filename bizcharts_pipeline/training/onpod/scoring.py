"""Probabilities of the labels as answers to a question, from one forward pass without text generation.

Questions have exactly the words and pixels of training, because they go through the trainer's own functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checks import LABELS, open_image
from rows import Row
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

BATCH = 8  # posts per forward pass; fixed, because 4-bit scores depend slightly on it
IGNORED = -100  # label of positions without loss


@dataclass(frozen=True)
class Scores:
    """Scores of some rows.

    ``log_p``: log-probabilities of the three labels relative to each other, ``[n, 3]``. ``mass``: total probability of
    the three labels, ``[n]``; if it is small, the model does not answer with a label at all.
    """

    log_p: np.ndarray
    mass: np.ndarray


def record(row: Row) -> dict[str, Any]:
    """Return a row in the format of the trainer TRL: only the completion has loss. Text first: pictures are opened
    when needed."""
    answer = LABELS[row.label if row.label is not None else 0]
    return {
        "prompt": [{"role": "user", "content": row.question}],
        "completion": [{"role": "assistant", "content": answer}],
        "images": [str(path) for path in row.images],
    }


class Collator:
    """Collates records into a batch: opens their pictures and leaves the rest to TRL, without truncation."""

    def __init__(self, processor: Any) -> None:
        self._inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)

    def __call__(self, records: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        opened = [{**record, "images": [open_image(Path(path)) for path in record["images"]]} for record in records]
        batch: dict[str, torch.Tensor] = self._inner.torch_call(opened)
        return batch


def prompts(processor: Any, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """Return a batch for the trained model that ends where the answer begins: the collator's batch without the
    completion."""
    pictures = [[open_image(path) for path in row.images] for row in rows]
    texts = [_text(processor, row, images)["prompt"] for row, images in zip(rows, pictures, strict=True)]
    return processor(  # type: ignore[no-any-return]
        images=pictures if any(pictures) else None,
        text=texts,
        padding=True,
        padding_side="left",
        return_tensors="pt",
        add_special_tokens=False,
    )


def answers(processor: Any) -> list[list[int]]:
    """Return the tokens of each label as in the trained completion, end of turn included."""
    row = Row("", 0, "?", (), None)
    completions = []
    for label in range(len(LABELS)):
        text = _text(processor, Row(row.name, row.number, row.question, row.images, label), [])["completion"]
        completions.append(processor.tokenizer(text, add_special_tokens=False)["input_ids"])
    return completions


def _text(processor: Any, row: Row, images: Sequence[Any]) -> dict[str, str]:
    example = record(row)
    prompt = prepare_multimodal_messages(example["prompt"], images=list(images))
    completion = prepare_multimodal_messages(example["completion"])
    text: dict[str, str] = apply_chat_template({"prompt": prompt, "completion": completion}, processor)
    return text


@torch.no_grad()
def score(model: Any, processor: Any, rows: Sequence[Row]) -> Scores:
    """Return the probabilities that the vision model, in training or trained, gives the labels for each row; the rows'
    own labels are ignored.

    If the first tokens of the labels differ, they decide; otherwise the complete labels are compared.
    """
    if not rows:
        return Scores(np.zeros((0, len(LABELS))), np.zeros(0))
    first = _first_tokens(processor)
    training = model.training
    model.eval()
    parts = []
    with _as_in_training(model):
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            parts.append(
                _by_first_token(model, processor, some, first) if first else _by_whole_label(model, processor, some)
            )
    model.train(training)
    log_p = torch.cat(parts).double()
    mass = log_p.logsumexp(-1)
    return Scores((log_p - mass[:, None]).numpy(), mass.exp().numpy())


def _as_in_training(model: Any) -> torch.autocast:
    """Return the autocast context under which a 16-bit model computes as in the trainer, with a 32-bit adapter in 16
    bits too.

    The trainer wraps its model in the same context; a model loaded later would give different scores without it.
    """
    weight = model.get_input_embeddings().weight
    return torch.autocast(weight.device.type, torch.bfloat16, enabled=weight.dtype is torch.bfloat16)


def _first_tokens(processor: Any) -> list[int] | None:
    """Return the first token of each label; ``None`` if two labels share one, which depends on the tokenizer."""
    first = [tokens[0] for tokens in answers(processor)]
    return first if len(set(first)) == len(first) else None


def _by_first_token(model: Any, processor: Any, rows: Sequence[Row], first: list[int]) -> torch.Tensor:
    batch = _to(prompts(processor, rows), model)
    logits = model(**batch, logits_to_keep=1, use_cache=False).logits[:, -1]
    log_p: torch.Tensor = logits.float().log_softmax(-1)[:, first]
    return log_p.cpu()


def _by_whole_label(model: Any, processor: Any, rows: Sequence[Row]) -> torch.Tensor:
    collate, columns = Collator(processor), []
    for label in range(len(LABELS)):
        batch = _to(collate([record(Row(r.name, r.number, r.question, r.images, label)) for r in rows]), model)
        labels = batch.pop("labels")[:, 1:]
        counted = labels != IGNORED
        log_p = model(**batch, use_cache=False).logits[:, :-1].float().log_softmax(-1)
        each = log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        columns.append((each * counted).sum(-1).cpu())
    return torch.stack(columns, dim=-1)


def _to(batch: Any, model: Any) -> dict[str, torch.Tensor]:
    device = next(model.parameters()).device
    return {name: value.to(device) for name, value in batch.items()}
