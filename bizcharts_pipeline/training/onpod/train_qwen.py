"""Fine-tunes a vision-language model on the stance of posts with QLoRA, on the machine that it runs on.

    python code/train_qwen.py data/spec.json

Starts from the base, or from the adapter of an earlier model in ``data/parent/``. Reads ``data/`` (`spec.py`,
`rows.py`), writes ``output/`` (the adapter, report.json, scores.json) and ``checkpoints/``, and resumes from the newest
complete checkpoint. Exit status: 0, or 3 (out of memory), 4 (the loss became NaN or infinite), 5 (disk full), 6 (bad
specification or data), 1 (other errors). On a CPU, an interrupted and resumed training gives the same bits as an
uninterrupted one.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from bases import Base
from calibration import Calibration, prior_shift
from checkpoints import newest_complete
from datasets import Dataset  # type: ignore[import-untyped]
from evaluate_qwen import Judgement
from evaluate_qwen import judge as judge_model
from judge import Judge, gpu_mb
from messages import Say, reporting
from model import CUDA, access, cast_adapter, load_base, lora, read_base, require_adapted, with_parent
from outcome import BadInput, Diverged, exit_status
from processor import load_processor
from rows import Data, Row, balanced, class_counts, read_data
from scoring import Collator, record
from spec import Spec, read_spec
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

PARENT = "parent"  # next to the specification: the adapter that training starts from
OUTPUT, ADAPTER, CHECKPOINTS, RESUME = Path("output"), Path("output/adapter"), Path("checkpoints"), Path("resume")
CHECKS_PER_EPOCH = 4  # evaluations, and checkpoints
KEPT_CHECKPOINTS = 2  # the newest may be incomplete
_PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets", "pillow")


class StanceTrainer(SFTTrainer):
    """TRL's trainer; its checkpoints also hold the judge's state, and it tells its makers nothing."""

    def __init__(self, judge: Judge, base: Base, **arguments: Any) -> None:
        super().__init__(callbacks=[judge], **arguments)
        self._judge, self.base = judge, base

    def _send_telemetry(self) -> None:
        """Send nothing; TRL would report each training to the Hugging Face hub."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the adapter, and in a checkpoint the judge's state, before the file that marks it complete."""
        super().save_model(output_dir, _internal_call)
        if _internal_call and output_dir:
            self._judge.save(Path(output_dir))


def trainer_settings(spec: Spec, rows: int) -> SFTConfig:
    """Return the trainer's settings for ``rows`` training rows. Harmful defaults are overridden explicitly."""
    return SFTConfig(
        output_dir=str(CHECKPOINTS),
        seed=spec.seed,
        data_seed=spec.seed,
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=spec.batch,
        gradient_accumulation_steps=spec.accumulate,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # of all steps
        optim="adamw_torch",
        bf16=CUDA,
        use_cpu=not CUDA,
        activation_checkpointing=True,
        activation_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,  # else the label is cut off
        completion_only_loss=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        save_strategy="steps",
        save_steps=check_every(spec, rows),
        save_total_limit=KEPT_CHECKPOINTS,
        eval_strategy="no",  # the judge evaluates
        logging_steps=1,
        logging_nan_inf_filter=False,  # else a NaN loss is hidden
        disable_tqdm=True,
        report_to="none",
    )


def check_every(spec: Spec, rows: int) -> int:
    """Return the training's number of optimizer steps between evaluations, and checkpoints, for ``rows`` training
    rows."""
    steps = math.ceil(math.ceil(rows / spec.batch) / spec.accumulate)  # per epoch
    return max(1, steps // CHECKS_PER_EPOCH)


def make_trainer(model: Any, processor: Any, spec: Spec, base: Base, shown: list[Row], judge: Judge) -> StanceTrainer:
    """Return the trainer of the vision model's adapter, after checking which modules it trains."""
    judge.every = check_every(spec, len(shown))
    trainer = StanceTrainer(
        judge,
        base,
        model=model,
        args=trainer_settings(spec, len(shown)),
        train_dataset=Dataset.from_list([record(row) for row in shown]),
        data_collator=Collator(processor),
        processing_class=processor,
        peft_config=None if spec.parent else lora(spec, base),
    )
    cast_adapter(trainer.model)
    require_adapted(trainer.model, base, freeze_vision=spec.freeze_vision)
    return trainer


def train(spec_path: Path, say: Say) -> None:
    """Train the vision model's adapter, evaluate it and write ``output/``."""
    started = time.monotonic()
    spec = read_spec(spec_path)
    say("stage", stage="reading the data")
    read_data(spec_path.parent)  # all problems are reported before gigabytes are downloaded
    base = read_base(spec)
    processor = load_processor(spec.base, base, spec, **access(spec))
    data = read_data(spec_path.parent, processor.tokenizer.all_special_tokens)
    shown = balanced(data.train, spec.seed) if spec.balance else list(data.train)
    calibration = Calibration(prior_shift(class_counts(data.train), class_counts(shown)), 1.0)
    judge = Judge(processor, data.validation, calibration, spec.patience, spec.fingerprint(*data.content), say)
    say("stage", stage="loading the base", base=spec.base, revision=spec.commit)
    model = load_base(spec, base)
    if spec.parent:
        model = with_parent(model, spec, base, spec_path.parent / PARENT)
    trainer = make_trainer(model, processor, spec, base, shown, judge)
    _fit(trainer, judge, spec, data, say)
    say("stage", stage="judging")
    judgement = judge_model(trainer.model, processor, data, calibration, spec.seed, fit=True)
    _write(trainer, processor, judgement, _about(trainer, judge, spec, shown, time.monotonic() - started))
    say("metrics", step=trainer.state.global_step, validation=judgement.report["validation"])


def _fit(trainer: StanceTrainer, judge: Judge, spec: Spec, data: Data, say: Say) -> None:
    """Train, from the newest complete checkpoint if there is one, and leave the best adapter in the model."""
    folders = [CHECKPOINTS, Path(spec.resume or RESUME)]
    checkpoint, skipped = newest_complete(folders, spec.fingerprint(*data.content))
    for line in skipped:
        say("note", text=f"checkpoint skipped: {line}")
    if checkpoint:
        judge.load(checkpoint)
    say("stage", stage="training", resumed_from=str(checkpoint) if checkpoint else None)
    if not judge.exhausted:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    judge.restore_best(trainer.model)


def _about(trainer: StanceTrainer, judge: Judge, spec: Spec, shown: list[Row], seconds: float) -> dict[str, Any]:
    curve = [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry]
    speeds = sorted(judge.tokens_per_second)
    modules = require_adapted(trainer.model, trainer.base, freeze_vision=spec.freeze_vision)
    return {
        "base": spec.base,
        "revision": spec.commit,
        "steps": trainer.state.global_step,
        "best_step": judge.best_step,
        "loss": curve,
        "shown": class_counts(shown),
        "adapted_modules": modules,
        "tokens_per_second": speeds[len(speeds) // 2] if speeds else None,
        "peak_gpu_mb": gpu_mb(),
        "gpu": torch.cuda.get_device_name() if CUDA else None,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "seconds": round(seconds, 1),  # of this process
    }


def _write(trainer: StanceTrainer, processor: Any, judgement: Judgement, about: dict[str, Any]) -> None:
    shutil.rmtree(ADAPTER, ignore_errors=True)
    model: Any = trainer.model
    model.save_pretrained(ADAPTER, save_embedding_layers=False)
    (ADAPTER / "README.md").unlink(missing_ok=True)  # a template without content
    processor.save_pretrained(ADAPTER)
    judgement.calibration.save(ADAPTER)
    (OUTPUT / "scores.json").write_text(json.dumps(judgement.scores) + "\n")
    (OUTPUT / "report.json").write_text(json.dumps({**about, **judgement.report}, indent=1) + "\n")


def main() -> int:
    """Train the vision model's adapter, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # pictures make batches vary in length
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with reporting() as say:
            train(arguments.spec, say)
    except Exception as error:
        if not isinstance(error, BadInput | Diverged):
            traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return exit_status(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
