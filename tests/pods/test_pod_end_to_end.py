"""From Dagster to a pod and back: the real SDK, ssh, rsync and supervisor; only RunPod and its GPU are pretended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copy

import dagster as dg
import pytest
from click.testing import CliRunner
from quick_pods import SECONDS, PodWorld, eventually, training
from quick_training import adapter

from bizcharts_pipeline.cli_pods import pods
from bizcharts_pipeline.demo.pod_control import PodControl
from bizcharts_pipeline.demo.pod_faults import PodFault

REPOSITORY = Path(__file__).resolve().parents[2]
DIALECTS = pytest.mark.parametrize("api", ["graphql", "rest"])


@pytest.fixture
def control(tmp_path: Path) -> Iterator[PodControl]:
    with PodControl(tmp_path / "cloud") as control:
        yield control


class Dagster:
    """The code location of `quick_definitions`, run by processes, as a user runs his."""

    def __init__(self, world: PodWorld) -> None:
        self.world = world
        self.home = world.home / "dagster"
        self.home.mkdir()
        copy(REPOSITORY / "dagster_home" / "dagster.yaml", self.home)
        self.output = world.home / "dagster.log"

    def start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY)])
        extra = {"DAGSTER_HOME": str(self.home), "QUICK_HOME": str(self.world.home), "PYTHONPATH": path}
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "quick_definitions", "-j", "quick"]
        with self.output.open("ab") as log:
            return subprocess.Popen(
                command, cwd=REPOSITORY, env={**self.world.environment(), **extra}, stdout=log, stderr=log
            )

    def run(self) -> int:
        return self.start().wait(timeout=SECONDS)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def events(self, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        """The events of a kind in the newest run."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            (run,) = instance.get_runs(limit=1)
            return [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=kind) if entry.dagster_event]

    def status(self) -> dg.DagsterRunStatus:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            (run,) = instance.get_runs(limit=1)
            return run.status


def world(tmp_path: Path, control: PodControl, of: dict[str, object], api: str = "graphql") -> PodWorld:
    return PodWorld(tmp_path / "home", control.url, control.key, [of], {"api": api})


def assert_trained(world: PodWorld, seed: int) -> None:
    weights = world.home / "results" / "0" / "adapter" / "adapter_model.safetensors"
    assert weights.read_bytes() == adapter(seed)


@DIALECTS
def test_a_training_streams_into_its_run_brings_its_adapter_and_leaves_no_pod(
    tmp_path: Path, control: PodControl, api: str
) -> None:
    dagster = Dagster(world(tmp_path, control, training(7), api))
    assert dagster.run() == 0, dagster.said()
    assert_trained(dagster.world, 7)
    assert control.cloud.pods() == []
    (event,) = dagster.events(dg.DagsterEventType.ASSET_MATERIALIZATION)
    metadata = event.materialization.metadata
    assert metadata["last loss"].value == pytest.approx(0.2)
    assert metadata["pods"].value == 1
    assert 0 < metadata["usd"].value < 0.01
    assert "svg+xml" in str(metadata["curve"].value)
    drawn = [
        event.event_specific_data.asset_observation for event in dagster.events(dg.DagsterEventType.ASSET_OBSERVATION)
    ]
    assert [int(observation.metadata["step"].value) for observation in drawn] == list(range(1, 11))
    said = dagster.said()
    for words in ("pod running", "step 10 of 10", "training with seed 7", "pod released"):
        assert words in said
    assert control.key not in said


def test_a_script_that_fails_fails_the_run_with_the_end_of_its_log_and_is_not_paid_again(
    tmp_path: Path, control: PodControl
) -> None:
    dagster = Dagster(world(tmp_path, control, training(8, "raises")))
    assert dagster.run() != 0
    (failed,) = dagster.events(dg.DagsterEventType.STEP_FAILURE)
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert "as it was told to" in str(failure.metadata["end of the log"].value)
    assert dagster.events(dg.DagsterEventType.STEP_UP_FOR_RETRY) == []
    assert control.cloud.pods() == []
    assert len(control.bill().charges) == 1


def test_a_pod_whose_creation_was_answered_with_an_error_is_found_and_used(tmp_path: Path, control: PodControl) -> None:
    pods = world(tmp_path, control, training(9))
    control.fail_next(PodFault.CREATE_LANDS)
    assert pods.run(0).get("pods") == 1
    assert_trained(pods, 9)
    assert control.cloud.pods() == []
    assert len(control.bill().charges) == 1


def test_after_kill_9_the_next_run_takes_the_same_pod_up(tmp_path: Path, control: PodControl) -> None:
    pods = world(tmp_path, control, training(10, steps=30, seconds=0.1), "rest")
    first = pods.start(0)
    pods.wait_for(0, "step 5 of 30")
    first.kill()
    first.wait()
    outcome = pods.run(0)
    assert (outcome.get("pods"), outcome.get("reattached")) == (1, True), outcome
    assert_trained(pods, 10)
    assert control.cloud.pods() == []
    assert len(control.bill().charges) == 1


def test_a_pod_that_nobody_looks_after_is_listed_and_reaped_by_the_command_line_and_others_are_not(
    tmp_path: Path, control: PodControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = world(tmp_path, control, training(12, steps=300, seconds=0.1))
    stranger = PodWorld(tmp_path / "stranger", control.url, control.key, installation.trainings, {"name": "stranger"})
    processes = [one.start(0) for one in (installation, stranger)]
    for one, process in zip((installation, stranger), processes, strict=True):
        one.wait_for(0, "step 2 of 300")
        process.kill()
        process.wait()
    for name in ("RUNPOD_API_BASE_URL", "RUNPOD_API_KEY", "BIZCHARTS_HOME"):
        monkeypatch.setenv(name, installation.environment()[name])
    monkeypatch.setenv("BIZCHARTS_PODS__NAME", "quick")
    command = CliRunner()
    (listed,) = json.loads(command.invoke(pods, ["list", "--json"], catch_exceptions=False).output)["pods"]
    assert listed["orphan"] == "no run works with it"
    assert listed["pod_id"] in command.invoke(pods, ["list"], catch_exceptions=False).output
    assert json.loads(command.invoke(pods, ["reap", "--json"], catch_exceptions=False).output)["ended"] == [
        listed["pod_id"]
    ]
    assert [pod.order.name.partition("-")[0] for pod in control.cloud.pods()] == ["stranger"]
    assert installation.ledger.live("runpod") == []


def test_stopping_the_run_ends_the_pod(tmp_path: Path, control: PodControl) -> None:
    dagster = Dagster(world(tmp_path, control, training(11, steps=300, seconds=0.1)))
    process = dagster.start()
    eventually(lambda: "step 5 of 300" in dagster.said())
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=SECONDS)
    assert dagster.status() is not dg.DagsterRunStatus.SUCCESS
    assert control.cloud.pods() == []
    assert dagster.world.ledger.live("runpod") == []
