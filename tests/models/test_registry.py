"""From a finished training to a row in model_versions."""

import errno
import json
import math
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from training.gate_world import LATER, GateWorld, of, talk

from bizcharts_pipeline.models.promotion import override
from bizcharts_pipeline.models.registry import Registered, register_adapter
from bizcharts_pipeline.models.retention import remove_superseded
from bizcharts_pipeline.sentiment.artifact import CorruptModel, read_artifact
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.training.recipe import BrokenResult, TrainingError
from bizcharts_pipeline.warehouse.model_evaluations import gold_scores


def brought(gated: GateWorld, folder: Path, log_p: list[float], temperature: float = 2.0) -> Path:
    """What a pod brings: an adapter that says the same of every gold post."""
    import numpy as np
    from safetensors.numpy import save_file

    (folder / "adapter").mkdir(parents=True)
    save_file({"lora": np.ones((2, 2), np.float32)}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "report.json").write_text('{"steps": 3}')
    gold = [{"thread_id": thread, "log_p": log_p, "mass": 1.0} for thread in gated.gold()]
    (folder / "scores.json").write_text(json.dumps({"gold": gold, "temperature": temperature, "validation": []}))
    return folder


def register(gated: GateWorld, folder: Path, **changed: Any) -> Registered:
    report = gated.build(text_only=True)
    assert report.version
    about: dict[str, Any] = {
        "kind": "qlora",
        "base_model": "Qwen/Qwen2.5-VL-7B-Instruct",
        "base_revision": "abc",
        "dataset_version": report.version.dataset_version,
        "code_version": "1",
        "seed": 3,
        "settings": {"rank": 16},
        "usd": Decimal("2.125"),
        "gpu": "RTX 4090",
    }
    return register_adapter(
        folder, gated.home / report.version.path, database=gated.database, home=gated.home, now=LATER, **about | changed
    )


def test_the_same_files_are_the_same_version(gated: GateWorld) -> None:
    first, again = gated.train(), gated.train()
    assert (first.new, again.new) == (True, False)
    assert again.model == first.model
    assert first.model.settings
    assert first.model.trained_at == LATER
    assert first.figures
    assert first.model.accuracy == first.figures.accuracy.value
    with gated.database.read() as connection:
        assert gold_scores(connection)[first.model.model_version].keys() == gated.gold()


def test_training_again_mends_damaged_files(gated: GateWorld) -> None:
    row = gated.train().model
    folder = gated.home / (row.path or "")
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert gated.train().model == row
    assert read_artifact(folder, row.sha256 or "").model_version == row.model_version


@pytest.mark.slow
def test_the_files_of_models_that_nobody_needs_go_after_a_week_and_the_rows_stay(gated: GateWorld) -> None:
    winner = gated.train().model.model_version
    gated.decide()
    former = gated.champion()
    known = gated.text_set()
    superseded = gated.train(of(known.examples[:100])).model.model_version
    candidate = gated.train(of(known.examples[:90])).model.model_version
    override(
        gated.database, gated.place, candidate, parameters=FearGreedSettings(), who="ann", reason="a try", now=LATER
    )
    killed = gated.home / "models" / ".tmp-1-killed"
    killed.mkdir()
    (gated.home / "models" / ".tmp-1-killed.tar").write_bytes(b"half")
    needed = {winner, former.model_version, candidate}
    written = datetime.fromtimestamp(killed.stat().st_mtime, UTC).replace(tzinfo=None)

    assert remove_superseded(gated.database, gated.home, written + timedelta(days=6)) == ()
    removed = remove_superseded(gated.database, gated.home, written + timedelta(days=8))
    assert removed == (killed.name, f"{killed.name}.tar", superseded)
    assert {path.name for path in (gated.home / "models").iterdir()} == needed
    assert gated.models()[superseded].status == "retired"
    override(
        gated.database,
        gated.place,
        former.model_version,
        parameters=FearGreedSettings(),
        who="ann",
        reason="back again",
        now=LATER,
    )
    assert gated.champion().model_version == former.model_version
    assert remove_superseded(gated.database, gated.home, written + timedelta(days=8)) == (), "it was champion, too"


def test_a_newer_candidate_retires_the_one_of_its_kind_until_that_is_trained_again(gated: GateWorld) -> None:
    known = gated.text_set()
    old = gated.train(known).model.model_version
    gated.label(talk(range(2001, 2031)))
    new = gated.train().model.model_version
    assert [gated.models()[name].status for name in (old, new)] == ["retired", "candidate"]
    assert gated.train(known).model.model_version == old
    assert [gated.models()[name].status for name in (old, new)] == ["candidate", "retired"]


def test_an_adapter_from_a_pod_is_registered_with_its_calibrated_scores_and_cost(
    gated: GateWorld, tmp_path: Path
) -> None:
    folder = brought(gated, tmp_path / "finished", [math.log(0.04), math.log(0.32), math.log(0.64)])
    found, again = register(gated, folder), register(gated, folder)
    row = found.model
    assert (found.new, again.new, again.model) == (True, False, row)
    assert (row.kind, row.base_revision, row.usd, row.gpu) == ("qlora", "abc", Decimal("2.125"), "RTX 4090")
    artifact = read_artifact(gated.home / (row.path or ""), row.sha256 or "")
    assert {"adapter_model.safetensors", "adapter_config.json", "report.json", "trained_on.json"} <= set(artifact.files)
    with gated.database.read() as connection:
        scores = gold_scores(connection)[row.model_version]
    roots = [0.2, math.sqrt(0.32), 0.8]  # at temperature 2 odds are square roots
    assert scores.keys() == gated.gold()
    assert next(iter(scores.values())) == pytest.approx([root / sum(roots) for root in roots])


def test_a_pods_adapter_is_judged_without_a_gpu_and_its_data_set_is_looked_through(
    gated: GateWorld, tmp_path: Path
) -> None:
    row = register(gated, brought(gated, tmp_path / "finished", [0.0, 0.0, -9.0])).model
    (judgement,) = gated.evaluate().judgements
    assert judgement.model_version == row.model_version
    assert judgement.reason.startswith("worse than")


@pytest.mark.parametrize("log_p", [[0.0, 0.0], [math.nan, 0.0, 0.0], [-math.inf] * 3])
def test_a_result_that_is_not_whole_registers_nothing(gated: GateWorld, tmp_path: Path, log_p: list[float]) -> None:
    before = gated.models()
    with pytest.raises(TrainingError, match=r"incomplete or malformed|are not probabilities"):
        register(gated, brought(gated, tmp_path / "finished", log_p))
    assert gated.models() == before


def test_a_pickle_among_an_adapters_files_is_refused(gated: GateWorld, tmp_path: Path) -> None:
    folder = brought(gated, tmp_path / "finished", [0.0, 0.0, 0.0])
    (folder / "adapter" / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(CorruptModel, match=r"optimizer\.pt"):
        register(gated, folder)


@pytest.mark.parametrize("damage", ["cut off", "no weights", "no safetensors", "a link"])
def test_broken_files_of_a_paid_result_are_told_from_a_machine_that_cannot_take_them(
    gated: GateWorld, tmp_path: Path, damage: str
) -> None:
    folder = brought(gated, tmp_path / "finished", [0.0, 0.0, 0.0])
    weights = folder / "adapter" / "adapter_model.safetensors"
    if damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no safetensors":
        weights.write_bytes(b"<html>502 Bad Gateway</html>")
    else:
        (folder / "adapter" / "tokenizer.json").symlink_to("/etc/hostname")
    with pytest.raises(BrokenResult, match=r"the result (is incomplete|is broken|contains a symbolic link)"):
        register(gated, folder)
    assert not [row for row in gated.models().values() if row.kind == "qlora"]
    assert not list((gated.home / "models").glob("qlora-*"))


def test_a_disk_that_is_full_does_not_make_a_paid_result_a_broken_one(
    gated: GateWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = brought(gated, tmp_path / "finished", [0.0, 0.0, 0.0])
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        with pytest.raises(TrainingError, match=r"No space left.*it is kept") as caught:
            register(gated, folder)
    assert not isinstance(caught.value, BrokenResult)
    assert register(gated, folder).new


def test_an_adapter_keeps_its_own_calibration_which_corrects_for_oversampled_classes(
    gated: GateWorld, tmp_path: Path
) -> None:
    folder = brought(gated, tmp_path / "finished", [0.0, 0.0, 0.0])
    own = {"labels": ["bearish", "neutral", "bullish"], "shift": [0.2, -0.5, 0.3], "temperature": 1.0}
    (folder / "adapter" / "calibration.json").write_text(json.dumps(own))
    row = register(gated, folder).model
    assert json.loads((gated.home / str(row.path) / "calibration.json").read_text()) == own
