"""An installation whose vision model runs on a serverless worker, and RunPod on loopback with its bill."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from vision_world import NOON, VisionWorld

from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.demo.label_apis.openai import read_chat
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.demo.pods.faults import PodFaults
from bizcharts_pipeline.demo.pods.serverless import Serverless
from bizcharts_pipeline.endpoints.control import Control
from bizcharts_pipeline.endpoints.ledger import EndpointRow
from bizcharts_pipeline.endpoints.life import deploy
from bizcharts_pipeline.scoring.jobs import WorkerCost, worker_cost
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.settings import EndpointSettings, ImageSettings, Settings, VisionSettings

SPEED = 20.0  # a worker that starts in 8 seconds does so in 0.4
EPOCH = datetime(1970, 1, 1)


class WorkerWorld(VisionWorld):
    """A vision world whose model is not on its server, but on a worker of ``control``."""

    control: PodControl
    endpoint: EndpointRow
    seconds_per_tick: float | None = 5

    @property
    def settings(self) -> Settings:
        """The settings of the installation."""
        chosen = EndpointSettings(image="registry.example/worker:1", start_seconds=60, job_seconds=60)
        return Settings(home=self.home, endpoint=chosen)

    @property
    def vision(self) -> VisionSettings:
        """The settings of [vision]."""
        return VisionSettings(
            endpoint=f"runpod:{self.endpoint.endpoint_id}",
            usd_per_day=self.usd_per_day,
            timeout_seconds=self.timeout_seconds,
        )

    @property
    def place(self) -> Place:
        return Place(self.home, self.vision, ImageSettings(), self.seconds_per_tick)

    @property
    def serverless(self) -> Serverless:
        """The simulated endpoints."""
        return self.control.serverless

    @property
    def cost(self) -> WorkerCost:
        """What the ledger has booked."""
        with AutoLabelLedger(self.home / "ledgers" / "scores.sqlite") as ledger:
            return worker_cost(ledger, EPOCH)

    def environment(self, now: datetime = NOON) -> dict[str, str]:
        vision = {f"BIZCHARTS_VISION__{name.upper()}": str(value) for name, value in self.vision.model_dump().items()}
        return super().environment(now) | vision

    def until_stopped(self) -> Decimal:
        """Wait until no worker runs; return the bill."""
        while self.serverless.running:
            self.serverless._closed.wait(0.01)
        return self.serverless.bill()


@contextmanager
def worker_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: PodFaults | None = None, speed: float = SPEED
) -> Iterator[WorkerWorld]:
    """A world with a deployed worker; the answers are those of a simulated model."""
    apis = SimulatedLabelApis()  # is never started: its model answers on the worker

    def answer(body: Any) -> tuple[int, Any]:
        fault = apis.fault_of(body["messages"][0]["content"][-1]["text"])
        if fault is LabelFault.SERVER_ERROR:
            return 500, {"error": {"message": "out of memory"}}
        if fault is not None:
            reply = apis.openai.answer(read_chat(body, also=apis.openai.adapters), body, fault)
            return reply.page.status, json.loads(reply.page.body)
        return apis.openai.completion(body)

    serverless = Serverless(answer, speed=speed)
    with PodControl(tmp_path / "cloud", faults or PodFaults(hang_seconds=0), serverless=serverless) as control:
        monkeypatch.setenv("RUNPOD_API_KEY", control.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", control.url)
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", control.queue_url)
        world = WorkerWorld(tmp_path / "home", apis)
        world.control = control
        world.endpoint = deploy(world.settings, world.version, Control(), NOON)
        yield world
