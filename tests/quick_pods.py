"""Trainings of seconds on pretended pods: the real SDK, ssh, rsync and state machine, in processes to be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from quick_orchestrator import settings_of

from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
from bizcharts_pipeline.pods.steady_clock import open_clock
from bizcharts_pipeline.settings import Settings

ORCHESTRATOR = Path(__file__).parent / "quick_orchestrator.py"
QUICK = {
    "name": "quick",
    "lag_seconds": 3,
    "boot_minutes": 0.5,
    "stall_minutes": 0.5,
    "lease_minutes": 0.5,
    "poll_seconds": 0.2,
    "capacity_minutes": 0.1,
    "max_hours": 0.1,
    "usd_per_month": 50,
    "python": sys.executable,
}
SECONDS = 120


def training(
    seed: int, ending: str = "well", *, steps: int = 10, seconds: float = 0.05, **sizes: int
) -> dict[str, Any]:
    """A specification for `quick_training`; ``sizes``: `adapter_bytes`, and `data_bytes` to send to the pod."""
    return {"seed": seed, "steps": steps, "seconds": seconds, "ending": ending, **sizes}


@dataclass
class PodWorld:
    """One installation whose trainings run on the pods of one control plane."""

    home: Path
    url: str
    key: str
    trainings: Sequence[dict[str, Any]]
    pods: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        orders = {"pods": {**QUICK, **self.pods}, "trainings": list(self.trainings)}
        (self.home / "orders.json").write_text(json.dumps(orders))

    @property
    def settings(self) -> Settings:
        return settings_of(self.home, json.loads((self.home / "orders.json").read_text()))

    @property
    def ledger(self) -> PodLedger:
        return PodLedger(self.home / LEDGER)

    @property
    def now(self) -> Callable[[], datetime]:
        return open_clock((self.home / LEDGER).parent)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BIZCHARTS_HOME": str(self.home),
            "RUNPOD_API_BASE_URL": self.url,
            "RUNPOD_API_KEY": self.key,
            "NO_PROXY": "127.0.0.1",
        }

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """Start the orchestrator of a training; its log goes on where the one before stopped."""
        with self.log(number).open("ab") as log:
            command = [sys.executable, str(ORCHESTRATOR), str(self.home), str(number)]
            return subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)

    def run(self, number: int) -> dict[str, Any]:
        """Run a training to its end and return what became of it."""
        process = self.start(number)
        process.wait(timeout=SECONDS)
        return self.outcome(number)

    def log(self, number: int) -> Path:
        (self.home / "logs").mkdir(exist_ok=True)
        return self.home / "logs" / f"{number}.log"

    def outcome(self, number: int) -> dict[str, Any]:
        path = self.home / "outcomes" / f"{number}.json"
        assert path.exists(), self.log(number).read_text()
        return dict(json.loads(path.read_text()))

    def wait_for(self, number: int, words: str) -> None:
        """Wait until a training's log has these words."""
        eventually(lambda: words in self.log(number).read_text(errors="replace"))


def eventually(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
