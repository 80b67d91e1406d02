"""LoRA fine-tuning of a BERT-like classifier; the same code trains on a pod and on the user's own machine.

Only the query and value projections get adapters; the classification head is trained fully; rarer classes weigh more in
the loss. It imports no other module of this folder, so it works as a file next to a script and as a part of the
package.
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STANCES = ("bearish", "neutral", "bullish")  # labels 0, 1, 2
LOG_STEPS = 10


class Unusable(ValueError):
    """A class has no example, or the base's classes are not bearish, neutral and bullish."""


class Diverged(ArithmeticError):
    """The loss or the weights became NaN or infinite."""


@dataclass(frozen=True)
class LoraSettings:
    """Hyperparameters of the training."""

    tokens: int = 128  # read per post; same as in CryptoBERT's training
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.1
    learning_rate: float = 5e-4  # about ten times that of full fine-tuning, as is usual for LoRA
    warmup: float = 0.1  # share of the steps
    rarity: float = 0.5  # exponent: rarer classes weigh more in the loss, by the square root of their rarity
    epochs: float = 6.0
    batch: int = 16


DEFAULT = LoraSettings()


def fit(
    base: Path,
    texts: Sequence[str],
    labels: Sequence[int],
    settings: LoraSettings,
    seed: int,
    report: Callable[[dict[str, float]], None] = lambda figures: None,
) -> tuple[Any, Any]:
    """Train a BERT-like classifier with LoRA, and return it with its tokenizer; the same arguments give the same
    weights on the same kind of machine.

    ``report`` receives ``step``, ``loss`` and so on during training.

    Raises:
        Unusable: a class has no example, or the base's classes are not bearish, neutral and bullish.
        Diverged: training diverged; a lower learning rate may help.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, DataCollatorWithPadding, PrinterCallback, set_seed

    if missing := set(range(len(STANCES))) - set(labels):
        raise Unusable(f"there is no example of {STANCES[min(missing)]}")
    set_seed(seed)
    model = load_base(base)
    order = stance_order(model.config.id2label)
    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=["query", "value"],
    )
    adapted = get_peft_model(model, config)
    encoded = tokenizer(list(texts), truncation=True, max_length=settings.tokens)["input_ids"]
    rows = [{"input_ids": ids, "labels": order[label]} for ids, label in zip(encoded, labels, strict=True)]
    counts = Counter(labels)
    weight = torch.zeros(len(STANCES))
    for label, count in counts.items():
        weight[order[label]] = (count / len(labels)) ** -settings.rarity
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(adapted, rows, weight, DataCollatorWithPadding(tokenizer), settings, seed, Path(scratch))
        trainer.pop_callback(PrinterCallback)
        trainer.add_callback(_reporting(report))
        trainer.train()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in adapted.parameters() if parameter.requires_grad):
        raise Diverged("the weights became NaN or infinite")
    return adapted.eval(), tokenizer


def load_base(base: Path) -> Any:
    """Return the pretrained classifier to fine-tune, in 32-bit floats; its weights must be safetensors."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    return AutoModelForSequenceClassification.from_pretrained(
        str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32
    )


def _trainer(
    model: Any, rows: list[Any], weight: Any, collator: Any, settings: LoraSettings, seed: int, scratch: Path
) -> Any:
    import torch
    from transformers import Trainer, TrainingArguments

    def weighted(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        return torch.nn.functional.cross_entropy(outputs["logits"], labels, weight=weight.to(labels.device))

    steps = math.ceil(len(rows) / settings.batch) * settings.epochs
    arguments = TrainingArguments(
        str(scratch),
        per_device_train_batch_size=settings.batch,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=round(settings.warmup * steps),
        seed=seed,
        data_seed=seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=LOG_STEPS,
        logging_nan_inf_filter=False,  # else the trainer logs the last finite loss instead
    )
    return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator, compute_loss_func=weighted)


def _reporting(report: Callable[[dict[str, float]], None]) -> Any:
    from transformers import TrainerCallback

    class Reporting(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if "loss" not in (logs or {}):
                return
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise Diverged(f"the loss is {loss} at step {state.global_step}")
            report({"step": state.global_step, "steps": state.max_steps, "loss": loss, "epoch": float(state.epoch)})

    return Reporting()


def log_probabilities(
    model: Any, tokenizer: Any, texts: Sequence[str], tokens: int, batch: int = 32
) -> list[list[float]]:
    """Return the uncalibrated log-probabilities of bearish, neutral and bullish for each text by a classifier that the
    training script has fine-tuned."""
    import torch

    order = stance_order(model.config.id2label)
    device = next(model.parameters()).device
    rows: list[list[float]] = []
    for start in range(0, len(texts), batch):
        encoded = tokenizer(
            list(texts[start : start + batch]), truncation=True, max_length=tokens, padding=True, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            logits = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits
        rows += logits.double()[:, order].log_softmax(dim=1).tolist()
    return rows


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the fine-tuned classifier's adapter, head and tokenizer to ``folder``; the same weights give the same
    files on any machine."""
    model.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # an unfilled template that contains the path of the base
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = None
    for name in ("target_modules", "modules_to_save"):
        config[name] = sorted(config[name] or [])  # sets: their order differs from process to process
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def stance_order(id2label: Any) -> list[int]:
    """Return the positions of bearish, neutral and bullish among the outputs of the classifier to train, by their
    names.

    Raises:
        Unusable: its outputs are not these three classes.
    """
    named = {str(label).lower(): int(position) for position, label in id2label.items()}
    if len(id2label) != len(STANCES) or named.keys() != set(STANCES):
        raise Unusable(f"the base's classes are {', '.join(map(str, id2label.values()))[:200]}")
    return [named[stance] for stance in STANCES]
