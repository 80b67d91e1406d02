"""The one order of a training on a pod: a paid result becomes a model, whatever is killed on the way."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from forked import ForkedProcess, run_script
from pod_training_process import STEPS
from training.gate_world import GateWorld

from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
from bizcharts_pipeline.sentiment.artifact import read_artifact
from bizcharts_pipeline.training.pod_job import staging

PROCESS = Path(__file__).with_name("pod_training_process.py")
ENVIRONMENT: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def train(home: Path, kind: str, step: str = "to the end") -> CompletedProcess[str]:
    process = ForkedProcess(run_script, [str(PROCESS), str(home), kind, step], folder=home, environment={**ENVIRONMENT})
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return CompletedProcess([kind, step], process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["setfit", "qlora"])
@pytest.mark.fault(
    "SIGKILL", stage="training on a pod", expected="the paid result is registered once; no second pod is rented"
)
def test_a_kill_at_any_step_after_the_fetch_registers_the_same_paid_result_and_rents_no_second_pod(
    gated: GateWorld, kind: str
) -> None:
    gated.build(text_only=True)
    versions = set()
    for step in STEPS[:-1]:
        killed = train(gated.home, kind, step)
        assert killed.returncode == -9, f"{step}: {killed.stderr}"
        assert any((gated.home / "staged").glob("*-result")), step
        versions |= {name for name, row in gated.models().items() if row.kind == kind}
    done = train(gated.home, kind)
    assert done.returncode == 0, done.stderr
    version, pods = json.loads(done.stdout.splitlines()[-1])
    assert versions == {version}
    assert pods == 1
    assert len(PodLedger(gated.home / LEDGER).pods()) == 1
    row = gated.models()[version]
    assert row.status == "candidate"
    assert (row.usd, row.seconds is not None) == (0, True)
    read_artifact(gated.home / (row.path or ""), row.sha256 or "")
    assert {name for name, known in gated.models().items() if known.kind == kind} == {version}
    assert not any((gated.home / "staged").iterdir())


@pytest.mark.slow
def test_what_a_kill_leaves_of_a_deleted_result_is_swept(gated: GateWorld) -> None:
    gated.build(text_only=True)
    assert train(gated.home, "qlora", STEPS[-1]).returncode == -9
    (left,) = (gated.home / "staged").glob("*-registered")
    assert not (gated.home / "staged" / f"{left.name.removesuffix('-registered')}-result").exists()
    assert [row.kind for row in gated.models().values()].count("qlora") == 1
    assert train(gated.home, "qlora").returncode == 0
    assert not any((gated.home / "staged").iterdir())


@pytest.mark.slow
@pytest.mark.fault("ENOSPC", stage="training on a pod", expected="the paid result stays for the next run")
def test_a_full_disk_while_registering_keeps_the_paid_result_for_the_next_run(
    gated: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.build(text_only=True)
    assert train(gated.home, "qlora", "fetched").returncode == -9
    models = gated.home / "models"
    shutil.rmtree(models, ignore_errors=True)
    models.write_text("in the way")  # as good as full: nothing can be written there
    failed = train(gated.home, "qlora")
    assert failed.returncode == 1
    assert "it is kept; fix that and run again" in failed.stderr
    assert len(list((gated.home / "staged").glob("*-result"))) == 1
    models.unlink()
    assert train(gated.home, "qlora").returncode == 0
    assert len(PodLedger(gated.home / LEDGER).pods()) == 1


def test_what_one_job_has_staged_outlives_the_start_of_another(tmp_path: Path) -> None:
    """Also before its pod is ordered, when only its staging is locked."""
    with staging(tmp_path, "a" * 12) as first:
        (first / "data").mkdir()
        with staging(tmp_path, "b" * 12):
            assert (first / "data").is_dir()
    assert not first.exists()
    first.mkdir(parents=True)  # as a killed run leaves it
    with staging(tmp_path, "b" * 12):
        assert not first.exists()
