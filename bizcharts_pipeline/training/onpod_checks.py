"""Runs the data checks of the on-pod scripts in a separate process, before a pod is rented; images may crash it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bizcharts_pipeline.training.recipe import TrainingError

CHECK = Path(__file__).parent / "onpod" / "check_data.py"
TIMEOUT_SECONDS = 900.0
IMAGES_PER_PROCESS = 500
CRASHED = "image cannot be decoded: the decoder crashed or took too long"


class CheckFailed(TrainingError):
    """The check itself failed; the state of the data is unknown."""


def image_problems(paths: Iterable[Path], timeout_seconds: float = TIMEOUT_SECONDS) -> dict[Path, str]:
    """Return, for each image that cannot be given to a model in training, the reason as ``"category: details"``.

    An image that crashes the decoding process, or is still being decoded after ``timeout_seconds``, counts as unusable.

    Raises:
        CheckFailed: the process dies before its first image.
    """
    waiting = list(dict.fromkeys(paths))
    found: dict[Path, str] = {}
    while waiting:
        batch = waiting[:IMAGES_PER_PROCESS]
        finished, printed, stderr = _run(
            "images", given=json.dumps([str(path) for path in batch]).encode(), timeout_seconds=timeout_seconds
        )
        answers: list[tuple[str, str | None]] = [json.loads(line) for line in printed.split(b"\n")[:-1]]
        found |= {Path(path): why for path, why in answers if why}
        if not finished and len(answers) < len(batch):
            if "Error" in stderr and not answers:
                raise CheckFailed(f"{CHECK.name} cannot start: {stderr.strip().splitlines()[-1]:.200}")
            found[batch[len(answers)]] = CRASHED
        waiting = waiting[min(len(batch), len(answers) + 1) :]
    return found


def dataset_problems(folder: Path) -> list[str]:
    """Return the problems for which the on-pod scripts would refuse the ShareGPT data set in ``folder``, with row and
    thread.

    Raises:
        CheckFailed: the checking process died; names its last error.
    """
    return _problems("dataset", folder)


def job_problems(data: Path) -> list[str]:
    """Return the problems for which the on-pod script of the vision model would refuse the staged folder ``data``.

    Checks its ``spec.json``, the data set, and the gold questions.

    Raises:
        CheckFailed: the checking process died; names its last error.
    """
    return _problems("job", data)


def _problems(what: str, folder: Path) -> list[str]:
    finished, printed, stderr = _run(what, str(folder), timeout_seconds=TIMEOUT_SECONDS)
    if not finished:
        last = (stderr.strip().splitlines() or ["it was killed or took too long"])[-1]
        raise CheckFailed(f"{folder} could not be checked ({last:.200}); run: {sys.executable} {CHECK} {what} {folder}")
    problems: list[Any] = json.loads(printed)
    return [str(problem) for problem in problems]


def _run(*arguments: str, given: bytes = b"", timeout_seconds: float) -> tuple[bool, bytes, str]:
    """Return whether the check succeeded, its output, and the end of its errors."""
    command = [sys.executable, "-I", str(CHECK), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as late:
        return False, late.stdout or b"", f"it took longer than {timeout_seconds:g} s"
    return done.returncode == 0, done.stdout, done.stderr.decode(errors="replace")[-2_000:]
