"""Evaluates an adapter, or the unmodified base, on validation, and scores the gold posts, whose labels are not here.

    python code/evaluate_qwen.py data/spec.json --adapter output/adapter
    python code/evaluate_qwen.py data/spec.json                            # zero-shot: the base alone

The first reproduces the scores that the training wrote: same base, quantisation and calibration.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from calibration import UNCALIBRATED, Calibration, fit_temperature, read_calibration
from model import access, load_adapted, load_base, read_base
from outcome import exit_status
from processor import load_processor
from report import figures
from rows import Data, Row, read_data
from scoring import Scores, score
from spec import read_spec


@dataclass(frozen=True)
class Judgement:
    """A model's scores of the posts, and its metrics."""

    calibration: Calibration
    scores: dict[str, Any]  # for scores.json
    report: dict[str, Any]


def judge(model: Any, processor: Any, data: Data, calibration: Calibration, seed: int, *, fit: bool) -> Judgement:
    """Score validation and gold with a trained adapter or its base; if ``fit``, the temperature is fitted to
    validation, else it is used unchanged.

    In ``scores``, ``log_p`` are the three labels' log-probabilities, corrected for oversampling; probabilities are
    ``softmax(log_p / temperature)``.
    """
    validation, gold = score(model, processor, data.validation), score(model, processor, data.gold)
    labels = np.array([row.label for row in data.validation], dtype=int)
    shifted = calibration.shifted(validation.log_p)
    if fit:
        calibration = Calibration(calibration.shift, fit_temperature(shifted, labels))
    before = figures(np.exp(shifted), labels, seed)
    after = figures(calibration.probabilities(validation.log_p), labels, seed)
    scores = {
        "validation": [
            {"row": row.number, "label": row.label, "log_p": log_p}
            for row, log_p in zip(data.validation, shifted.tolist(), strict=True)
        ],
        "gold": _gold(data.gold, gold, calibration),
        "temperature": calibration.temperature,
    }
    report = {
        "validation": after,
        "ece_before_temperature": before.get("ece"),
        "ece_after_temperature": after.get("ece"),
        "temperature": calibration.temperature,
        "shift": list(calibration.shift),
        "label_mass": {"validation": _mean(validation.mass), "gold": _mean(gold.mass)},
    }
    return Judgement(calibration, scores, report)


def _gold(rows: tuple[Row, ...], scores: Scores, calibration: Calibration) -> list[dict[str, Any]]:
    shifted = calibration.shifted(scores.log_p)
    return [
        {"thread_id": row.number, "log_p": log_p, "mass": mass}
        for row, log_p, mass in zip(rows, shifted.tolist(), scores.mass.tolist(), strict=True)
    ]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def evaluate(spec_path: Path, adapter: Path | None) -> Judgement:
    """Load a vision model, trained or unmodified, and evaluate it on the data in the folder of its training's
    specification."""
    spec = read_spec(spec_path)
    base = read_base(spec)
    if adapter:
        processor = load_processor(str(adapter), base, spec, local_files_only=True)
    else:
        processor = load_processor(spec.base, base, spec, **access(spec))
    data = read_data(spec_path.parent, processor.tokenizer.all_special_tokens)
    model = load_adapted(spec, base, adapter) if adapter else load_base(spec, base).eval()
    calibration = read_calibration(adapter) if adapter else UNCALIBRATED
    return judge(model, processor, data, calibration, spec.seed, fit=adapter is None)


def main() -> int:
    """Evaluate an adapter, or the unmodified base, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--adapter", type=Path, help="folder of the adapter; without it the base alone is evaluated")
    parser.add_argument("--into", type=Path, default=Path("output/evaluation.json"), help="output file")
    arguments = parser.parse_args()
    try:
        judgement = evaluate(arguments.spec, arguments.adapter)
        arguments.into.parent.mkdir(parents=True, exist_ok=True)
        arguments.into.write_text(json.dumps({**judgement.scores, "report": judgement.report}, indent=1) + "\n")
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return exit_status(error)
    print(json.dumps(judgement.report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
