"""From Dagster to a pod and back: the real SDK, ssh, rsync and supervisor; only RunPod and its GPU are pretended."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from shutil import copy

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from forked import ForkedProcess, run_module
from quick_pods import SECONDS, PodWorld, eventually, training
from quick_training import adapter

from bizcharts_pipeline.cli.pods import pods
from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.demo.pods.faults import PodFault, PodFaults

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

    def start(self) -> ForkedProcess:
        path = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY)])
        extra = {"DAGSTER_HOME": str(self.home), "QUICK_HOME": str(self.world.home), "PYTHONPATH": path}
        words = ["dagster", "job", "execute", "-m", "quick_definitions", "-j", "quick"]
        environment = {**self.world.environment(), **extra}
        return ForkedProcess(run_module, words, folder=REPOSITORY, environment=environment, log=self.output)

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_pod_whose_creation_was_answered_with_an_error_is_found_and_used(tmp_path: Path, control: PodControl) -> None:
    pods = world(tmp_path, control, training(9))
    control.fail_next(PodFault.CREATE_LANDS)
    assert pods.run(0).get("pods") == 1
    assert_trained(pods, 9)
    assert control.cloud.pods() == []
    assert len(control.bill().charges) == 1


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="training on a pod", expected="the next run takes the same pod up")
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


def killed_at_work(*worlds: PodWorld) -> None:
    """Let an orchestrator of each world be killed while its pod trains."""
    processes = [one.start(0) for one in worlds]
    for one, process in zip(worlds, processes, strict=True):
        one.wait_for(0, "step 2 of 300")
        process.kill()
        process.wait()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return what runs `bizcharts pods` in the home of a world."""

    def run(of: PodWorld, *arguments: str) -> Result:
        for name in ("RUNPOD_API_BASE_URL", "RUNPOD_API_KEY", "BIZCHARTS_HOME"):
            monkeypatch.setenv(name, of.environment()[name])
        monkeypatch.setenv("BIZCHARTS_PODS__NAME", "quick")
        monkeypatch.setenv("BIZCHARTS_PODS__LAG_SECONDS", "3")
        return CliRunner().invoke(pods, arguments)

    return run


@pytest.mark.slow
def test_a_pod_that_nobody_looks_after_is_listed_and_reaped_by_the_command_line_and_another_homes_is_not(
    tmp_path: Path, control: PodControl, command: Callable[..., Result]
) -> None:
    installation = world(tmp_path, control, training(12, steps=300, seconds=0.1))
    stranger = PodWorld(tmp_path / "stranger", control.url, control.key, installation.trainings)
    killed_at_work(installation, stranger)
    (listed,) = json.loads(command(installation, "list", "--json").stdout)["pods"]
    assert listed["orphan"] == "no run is attached to it"
    assert listed["pod_id"] in command(installation, "list").stdout
    assert json.loads(command(installation, "reap", "--json").stdout)["ended"] == [listed["pod_id"]]
    (left,) = control.cloud.pods()
    assert left.pod_id == stranger.ledger.live("runpod")[0].pod_id
    assert installation.ledger.live("runpod") == []


def test_where_nothing_was_ever_rented_no_key_is_needed_to_say_so(
    tmp_path: Path, control: PodControl, command: Callable[..., Result]
) -> None:
    nothing = PodWorld(tmp_path / "home", control.url, "", [])
    for arguments, says in ((["list"], "No pods."), (["reap"], "terminated: none")):
        told = command(nothing, *arguments)
        assert (told.exit_code, told.stderr) == (0, "")
        assert says in told.stdout


@pytest.mark.slow
def test_after_the_provider_changes_its_pods_are_listed_and_reaped_all_the_same(
    tmp_path: Path, control: PodControl, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = world(tmp_path, control, training(13, steps=300, seconds=0.1))
    killed_at_work(installation)
    monkeypatch.setenv("BIZCHARTS_POD_PROVIDER", "local")
    (listed,) = json.loads(command(installation, "list", "--json").stdout)["pods"]
    assert (listed["provider"], listed["status"]) == ("runpod", "running")
    # Without its key, or with nobody there, what the ledger knows is shown, and what to do.
    for changed, says in (
        ({"key": ""}, "set RUNPOD_API_KEY"),
        ({"url": "http://127.0.0.1:9"}, "incomplete or missing response"),
    ):
        blind = replace(installation, **changed)
        for arguments in (["list"], ["reap"]):
            told = command(blind, *arguments)
            assert told.exit_code == 1
            assert says in told.stderr
            assert "1 unmanaged pod there" in told.stderr
        assert listed["pod_id"] in command(blind, "list").stdout
        assert "not asked" in command(blind, "list").stdout
    assert json.loads(command(installation, "reap", "--json").stdout)["ended"] == [listed["pod_id"]]
    assert control.bill().alive == 0
    assert installation.ledger.live() == []


@pytest.mark.slow
def test_a_pretended_time_reaches_no_pod_and_a_training_that_hangs_is_ended_all_the_same(
    tmp_path: Path, control: PodControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", "2020-01-01T00:00:00")
    pods = {"api": "rest", "stall_minutes": 0.1}
    dagster = Dagster(PodWorld(tmp_path / "home", control.url, control.key, [training(19, "hangs")], pods))
    assert dagster.run() != 0
    assert "No output of the job" in dagster.said()
    assert "pretended time: None" in dagster.said()
    assert control.cloud.pods() == []
    (pod,) = dagster.world.ledger.pods()
    assert pod.created_at.year > 2020
    assert booked_at_least(dagster.world, control)


# What the control plane does to those who believe it too early. Waits are short: a lag of 3 s stands for 90.


def booked_at_least(installation: PodWorld, control: PodControl) -> bool:
    """Whether the ledger books the bill, but for seconds that have begun and are charged as whole ones."""
    bill = control.bill()
    rounding = sum((charge.usd_per_hour for charge in bill.charges), Decimal(0)) / 3600
    return bill.alive == 0 and bill.usd <= installation.ledger.spent().ended_usd + rounding


@pytest.mark.slow
@DIALECTS
def test_a_pod_that_is_neither_listed_nor_found_for_a_while_is_waited_for(tmp_path: Path, api: str) -> None:
    faults = PodFaults(late_get=1, late_list=1, lag_seconds=(1, 2.5), dearer=1)
    with PodControl(tmp_path / "cloud", faults) as control:
        installation = world(tmp_path, control, training(14), api)
        assert installation.run(0).get("pods") == 1
        assert_trained(installation, 14)
        assert len(control.bill().charges) == 1
        assert booked_at_least(installation, control)
        assert installation.ledger.live() == []


@pytest.mark.slow
@DIALECTS
def test_a_pod_that_lands_late_is_ended_while_the_other_works(tmp_path: Path, api: str) -> None:
    with PodControl(tmp_path / "cloud", PodFaults(late_seconds=(5.5, 5.5), page_pods=1)) as control:
        installation = world(tmp_path, control, training(15, steps=150, seconds=0.2), api)
        control.fail_next(PodFault.CREATE_LATE)
        outcome = installation.run(0)
        assert outcome.get("pods") == 2, outcome
        assert_trained(installation, 15)
        worked, late = sorted(control.bill().charges, key=lambda charge: -charge.seconds)
        assert late.seconds < worked.seconds / 2  # it landed in the first seconds, and did not live to the end
        assert booked_at_least(installation, control)
        assert installation.ledger.live() == []


@pytest.mark.slow
def test_a_pod_that_lands_when_its_run_is_over_is_reaped_by_its_name(
    tmp_path: Path, command: Callable[..., Result]
) -> None:
    with PodControl(tmp_path / "cloud", PodFaults(late_seconds=(5, 5))) as control:
        installation = world(tmp_path, control, training(16))
        control.fail_next(PodFault.CREATE_LATE)
        process = installation.start(0)
        installation.wait_for(0, "searching for its pod")
        process.kill()
        process.wait()
        command(installation, "reap")
        eventually(lambda: control.bill().alive == 1)
        eventually(lambda: json.loads(command(installation, "reap", "--json").stdout)["ended"] != [])
        assert control.bill().alive == 0
        eventually(lambda: command(installation, "reap").exit_code == 0)
        assert booked_at_least(installation, control)


@pytest.mark.slow
def test_a_refused_key_while_a_pod_boots_does_not_end_it(tmp_path: Path, control: PodControl) -> None:
    installation = world(tmp_path, control, training(17), "rest")
    process = installation.start(0)
    installation.wait_for(0, "booting")
    control.fail_next(PodFault.API_401, PodFault.API_401)
    process.wait(timeout=SECONDS)
    assert installation.outcome(0).get("pods") == 1
    assert len(control.bill().charges) == 1


@pytest.mark.slow
@DIALECTS
def test_an_api_that_is_switched_off_while_a_pod_works_loses_neither_pod_nor_result(
    tmp_path: Path, control: PodControl, api: str
) -> None:
    installation = world(tmp_path, control, training(18, steps=30, seconds=0.1), api)
    process = installation.start(0)
    installation.wait_for(0, "step 2 of 30")
    control.retire(api)
    process.wait(timeout=SECONDS)
    assert installation.outcome(0).get("pods") == 1
    assert_trained(installation, 18)
    assert booked_at_least(installation, control)
    assert installation.ledger.live() == []


# A transfer of 15 seconds over a slow line, with a lease of seven.

LEASE = {"api": "rest", "lease_minutes": 0.12}
SLOW = 1_000_000  # bytes a second; a few megabytes wait in buffers and look as if they had arrived


@pytest.mark.slow
@pytest.mark.fault("slow network", stage="training on a pod", expected="the result is fetched and paid once")
def test_a_result_that_travels_for_longer_than_the_lease_is_fetched_and_paid_once(tmp_path: Path) -> None:
    with PodControl(tmp_path / "cloud", PodFaults(link_bytes_per_second=SLOW)) as control:
        of = training(20, adapter_bytes=15 * SLOW)
        installation = PodWorld(tmp_path / "home", control.url, control.key, [of], LEASE)
        assert installation.run(0).get("pods") == 1, installation.log(0).read_text()
        weights = installation.home / "results" / "0" / "adapter" / "adapter_model.safetensors"
        assert weights.read_bytes() == adapter(20, 15 * SLOW)
        assert len(control.bill().charges) == 1
        assert control.bill().alive == 0


@pytest.mark.slow
def test_an_upload_that_breaks_off_after_more_than_the_lease_goes_on_to_the_same_pod(tmp_path: Path) -> None:
    cut = PodFaults(link_bytes_per_second=SLOW, link_dropped=1, link_bytes=(10 * SLOW, 10 * SLOW))
    with PodControl(tmp_path / "cloud", cut) as control:
        of = training(21, data_bytes=15 * SLOW)
        installation = PodWorld(tmp_path / "home", control.url, control.key, [of], LEASE)
        assert installation.run(0).get("pods") == 1, installation.log(0).read_text()
        assert "connection lost" in installation.log(0).read_text()
        assert_trained(installation, 21)
        assert len(control.bill().charges) == 1


@pytest.mark.slow
def test_stopping_the_run_ends_the_pod(tmp_path: Path, control: PodControl) -> None:
    dagster = Dagster(world(tmp_path, control, training(11, steps=1_000, seconds=0.1)))
    process = dagster.start()
    eventually(lambda: "step 5 of 1000" in dagster.said())
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=SECONDS)
    assert dagster.status() is not dg.DagsterRunStatus.SUCCESS, dagster.said()[-3_000:]
    assert control.cloud.pods() == []
    assert dagster.world.ledger.live("runpod") == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_run_while_its_result_is_fetched_ends_the_pod_and_leaves_no_half_result(
    tmp_path: Path, stop: signal.Signals
) -> None:
    with PodControl(tmp_path / "cloud", PodFaults(link_bytes_per_second=SLOW)) as control:
        dagster = Dagster(world(tmp_path, control, training(22, adapter_bytes=15 * SLOW), "rest"))
        process = dagster.start()
        eventually(lambda: "fetching the result" in dagster.said())
        process.send_signal(stop)
        process.wait(timeout=SECONDS)
        assert dagster.status() is not dg.DagsterRunStatus.SUCCESS, dagster.said()[-3_000:]
        assert control.cloud.pods() == []
        assert dagster.world.ledger.live("runpod") == []
        assert len(control.bill().charges) == 1  # no other pod was rented
        assert not (dagster.world.home / "results" / "0").exists()
