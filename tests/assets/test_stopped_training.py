"""A training that a user stops: it ends, rents nothing more, and the command line waits for that."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from assets import qlora_adapter
from bizcharts_pipeline.pods.reaper import ReapReport
from bizcharts_pipeline.settings import Settings
from resources.console_log import PROGRESS
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse
from schedules.pods import pods_reaped


def train(tmp_path: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    settings = Settings.model_validate({"home": tmp_path / "home"})
    return dg.materialize(
        [qlora_adapter.qlora_adapter],
        instance=instance,
        resources={
            "warehouse": Warehouse(database=str(tmp_path / "no.duckdb"), wait_seconds=1),
            "training": Training.from_settings(settings),
            "runpod": RunPodResource.from_settings(settings),
        },
        raise_on_error=False,
    )


@pytest.mark.parametrize("when", ["at work", "between two attempts"])
def test_a_training_that_was_stopped_is_not_begun_again_and_rents_nothing(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    attempts = []

    def attempt(*_: object) -> None:
        attempts.append(when)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        if when == "at work":
            time.sleep(60)
        raise dg.Failure("no capacity", allow_retries=True)

    monkeypatch.setattr(qlora_adapter, "_train", attempt)
    monkeypatch.setattr(qlora_adapter, "RETRY_SECONDS", (60, 60) if when == "between two attempts" else (0, 0))
    monkeypatch.setenv(PROGRESS, "1")  # as `bizcharts run` sets it
    result = train(tmp_path, instance)
    assert attempts == [when]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED  # a failed one is started again by the daemon


@pytest.mark.parametrize(("allowed", "attempts"), [(True, 3), (False, 1)])
def test_a_failed_training_is_tried_again_only_where_that_may_help(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, allowed: bool, attempts: int
) -> None:
    made = []

    def attempt(*_: object) -> dg.MaterializeResult:
        made.append(1)
        if len(made) < 3:
            raise dg.Failure("no capacity", allow_retries=allowed)
        return dg.MaterializeResult()

    monkeypatch.setattr(qlora_adapter, "_train", attempt)
    monkeypatch.setattr(qlora_adapter, "RETRY_SECONDS", (0, 0))
    assert train(tmp_path, instance).success is allowed
    assert len(made) == attempts


RUN = """
    import signal, sys
    from bizcharts_pipeline.service import jobs
    jobs.job_command = lambda job: [sys.executable, "-c", sys.argv[2]]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs.run_job("training", {"DAGSTER_HOME": sys.argv[1]}, lambda line: print(line, flush=True))
"""
JOB = """
    import os, signal, sys, time
    def stop(*_):  # print fails in a handler that interrupts print
        os.write(1, b"2026-11-03 12:00:01 ending the pod\\n")
        time.sleep(0.5)
        os.write(1, b"2026-11-03 12:00:02 the pod is terminated\\n")
        sys.exit(1)
    signal.signal(signal.SIGTERM, stop)
    print("2026-11-03 12:00:00 training", flush=True)
    time.sleep(60)
"""


def test_a_run_that_is_told_to_stop_tells_its_job_and_waits_until_that_has_ended_its_pod(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path), textwrap.dedent(JOB)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert "training" in process.stdout.readline()
        process.terminate()
        said, errors = process.communicate(timeout=50)
    assert "the pod is terminated" in said, errors


def test_a_tick_of_the_reaper_does_not_fail_while_an_end_is_only_waited_for_and_keeps_its_time(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def reap(_: object, is_running: object, seconds: float) -> ReapReport:
        given.append(seconds)
        return ReapReport((), (), (), ("p0: it was told to end and is not shown",))

    monkeypatch.setattr(RunPodResource, "reap", reap)
    resource = RunPodResource.from_settings(Settings.model_validate({"home": tmp_path / "home"}))
    answer = pods_reaped(dg.build_sensor_context(instance=instance, resources={"runpod": resource}))
    assert isinstance(answer, dg.SkipReason)
    assert "p0: it was told to end" in str(answer.skip_message)
    assert given[0] < 60  # what Dagster gives a sensor
