"""Trainer callback: reports progress, keeps the best adapter on validation, and stops early."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration import Calibration, fit_temperature, nll
from checkpoints import BEST, OURS
from messages import Say
from outcome import require_finite
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from report import accuracy, confusion, macro_f1
from rows import Row
from safetensors.torch import load_file, save_file
from scoring import score
from transformers import TrainerCallback


class Judge(TrainerCallback):
    """Evaluates at a fixed interval of steps by the negative log-likelihood on validation.

    Its state is saved inside each checkpoint: another machine that resumes gets only the newest checkpoint.
    """

    def __init__(
        self, processor: Any, rows: tuple[Row, ...], calibration: Calibration, patience: int, fingerprint: str, say: Say
    ) -> None:
        self._processor, self._rows, self._calibration = processor, rows, calibration
        self._labels = np.array([row.label for row in rows], dtype=int)
        self._patience, self._fingerprint, self._say = patience, fingerprint, say
        self._best: dict[str, torch.Tensor] | None = None
        self._best_nll, self._best_step, self._without_gain = float("inf"), 0, 0
        self._told_at, self._told_tokens = time.monotonic(), 0.0
        self.every = 1  # steps
        self.tokens_per_second: list[float] = []

    @property
    def exhausted(self) -> bool:
        """Whether ``patience`` evaluations of the training have passed without improvement."""
        return self._without_gain >= self._patience

    @property
    def best_step(self) -> int:
        """The training step whose adapter was best on validation; 0 if none was evaluated."""
        return self._best_step

    def on_log(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Report a training step.

        Raises:
            Diverged: its loss or gradient is NaN or infinite.
        """
        logs: dict[str, Any] = event["logs"]
        if "loss" not in logs:
            return
        loss, gradient = float(logs["loss"]), logs.get("grad_norm")
        require_finite(state.global_step, loss=loss, gradient=None if gradient is None else float(gradient))
        now, tokens = time.monotonic(), float(logs.get("num_tokens", 0))
        speed = max(0.0, tokens - self._told_tokens) / max(now - self._told_at, 1e-9)
        self._told_at, self._told_tokens = now, tokens
        self.tokens_per_second.append(speed)
        self._say(
            "metrics",
            step=state.global_step,
            steps=state.max_steps,
            loss=loss,
            learning_rate=logs.get("learning_rate"),
            tokens_per_second=round(speed, 1),
            gpu_mb=gpu_mb(),
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Evaluate the adapter in training on validation, if it is due."""
        if not self._rows or (state.global_step % self.every and state.global_step != state.max_steps):
            return
        started, model = time.monotonic(), event["model"]
        log_p = self._calibration.shifted(score(model, self._processor, self._rows).log_p)
        value = nll(log_p, self._labels)
        require_finite(state.global_step, validation_nll=value)
        if value < self._best_nll:
            self._best_nll, self._best_step, self._without_gain = value, state.global_step, 0
            self._best = {name: t.detach().cpu().clone() for name, t in _adapter(model).items()}
        else:
            self._without_gain += 1
        matrix = confusion(self._labels, log_p.argmax(-1))
        validation = {
            "nll": value,
            "accuracy": accuracy(matrix),
            "macro_f1": macro_f1(matrix),
            "temperature": fit_temperature(log_p, self._labels),
            "best_step": self._best_step,
        }
        self._say("metrics", step=state.global_step, steps=state.max_steps, validation=validation)
        self._told_at += time.monotonic() - started
        control.should_training_stop = control.should_training_stop or self.exhausted

    def save(self, checkpoint: Path) -> None:
        """Write the state of the training's evaluations into a checkpoint."""
        known = {
            "fingerprint": self._fingerprint,
            "best_nll": self._best_nll if self._best else None,
            "best_step": self._best_step,
            "without_gain": self._without_gain,
        }
        if self._best:
            save_file(self._best, checkpoint / BEST)
        (checkpoint / OURS).write_text(json.dumps(known))

    def load(self, checkpoint: Path) -> None:
        """Restore the state of the training's evaluations from a checkpoint."""
        known = json.loads((checkpoint / OURS).read_bytes())
        self._best_step, self._without_gain = known["best_step"], known["without_gain"]
        if known["best_nll"] is not None:
            self._best_nll, self._best = known["best_nll"], load_file(checkpoint / BEST)

    def restore_best(self, model: Any) -> None:
        """Load the best adapter into ``model``; without an evaluation, the last one stays."""
        if self._best:
            set_peft_model_state_dict(model, self._best)


def gpu_mb() -> int | None:
    """Return the peak memory that the training has reserved on the GPU so far, in MB (10⁶ bytes); ``None`` without a
    GPU."""
    return round(torch.cuda.max_memory_reserved() / 1e6) if torch.cuda.is_available() else None


def _adapter(model: Any) -> dict[str, torch.Tensor]:
    return dict(get_peft_model_state_dict(model, save_embedding_layers=False))
