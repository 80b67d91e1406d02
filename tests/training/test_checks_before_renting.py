"""What the on-pod scripts would refuse is left out, or refused with its thread, before anything is rented."""

import json
import math
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from labelled_world import made_up
from training.gate_world import LATER, GateWorld
from training.training_world import TrainingWorld, an_image

from assets.dataset_checks import rows_are_readable
from assets.sharegpt_dataset import sharegpt_dataset
from bizcharts_pipeline.models.registry import register_adapter
from bizcharts_pipeline.settings import LabellingSettings, PodSettings, Settings
from bizcharts_pipeline.training import examples
from bizcharts_pipeline.training.onpod_checks import CRASHED, image_problems
from bizcharts_pipeline.training.pod_job import script_job
from bizcharts_pipeline.training.qlora_job import gold_questions, qlora_training
from bizcharts_pipeline.training.recipe import TrainingError
from bizcharts_pipeline.training.sharegpt import format_problems
from resources.labelling import Labelling
from resources.warehouse import Warehouse

RIBBON, DOT, CUT = an_image(1, 250, 1), an_image(2, 3, 3), an_image(3)[:-30]
REASONS = {"image too small": 2, "image too narrow": 1, "image cannot be decoded": 1}


def with_bad_images(world: TrainingWorld) -> dict[int, str]:
    """Label eighty posts; return the threads of four whose images no model can be shown, with their reasons."""
    world.illustrated(made_up(range(80)))
    world.draw()
    first, second, third, fourth = sorted(set(range(80)) - world.gold())[:4]
    world.pictures({first: RIBBON, second: DOT, third: CUT, fourth: an_image(4, 4, 804)})
    return {first: "too small", second: "too small", third: "cannot be decoded", fourth: "too narrow"}


def materialise(world: TrainingWorld) -> dg.ExecuteInProcessResult:
    resources = {
        "warehouse": Warehouse(database=str(world.database.path)),
        "labelling": Labelling(home=str(world.home), values=LabellingSettings().model_dump()),
    }
    return dg.materialize([sharegpt_dataset, rows_are_readable], resources=resources, raise_on_error=False)


def test_posts_whose_images_a_trainer_refuses_are_left_out_and_counted_by_reason(world: TrainingWorld) -> None:
    bad = with_bad_images(world)
    result = materialise(world)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    shown = result.asset_materializations_for_node("sharegpt_dataset")[0].metadata
    assert shown["left_out"].value == {"gold": 20, **REASONS}
    unusable = shown["unusable_images"].value
    assert isinstance(unusable, dict)
    assert {int(thread): bad[int(thread)] in str(why) for thread, why in unusable.items()} == dict.fromkeys(bad, True)
    assert shown["rows"].value == 56
    for reason, count in REASONS.items():
        assert f"| {reason} | {count} |" in str(shown["datasheet"].value)


def test_with_text_alone_their_posts_stay_and_the_datasheet_says_why_they_have_no_image(world: TrainingWorld) -> None:
    bad = with_bad_images(world)
    report = world.build(text_only=True)
    assert report.version
    assert report.left_out == {"gold": 20}
    assert report.unusable_images.keys() == bad.keys()
    assert sum(not row["images"] for row in world.rows(report)) == len(bad)
    assert "| image too narrow | 1 |" in report.datasheet


@pytest.mark.slow
def test_an_older_data_set_with_an_image_that_is_refused_fails_its_check_and_rents_nothing(
    world: TrainingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = with_bad_images(world)
    with monkeypatch.context() as patched:
        patched.setattr(examples, "image_problems", lambda paths: dict.fromkeys([], ""))
        report = world.build()
    assert report.version
    problems = format_problems(world.home / report.version.path)
    assert len(problems) == len(bad)
    for thread, why in bad.items():
        assert any(f"(thread {thread}): image {why}" in problem for problem in problems)
    settings = Settings(home=world.home, pod_provider="runpod")
    named = r"refuse the data \(4 problems\), so no pod is rented: .*thread \d+\): image"
    refused = pytest.raises(TrainingError, match=named)
    with refused, qlora_training(world.database, world.home, settings):
        raise AssertionError("a pod would have been rented")


def test_a_setting_that_the_script_refuses_is_named_before_a_pod_is_rented(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(80)))
    world.draw()
    world.build()
    settings = Settings(home=world.home, pod_provider="runpod", vlm_base="nobody/nothing")
    refused = pytest.raises(TrainingError, match="base 'nobody/nothing' is neither a local folder nor a known base")
    with refused, qlora_training(world.database, world.home, settings):
        raise AssertionError("a pod would have been rented")


@pytest.mark.slow
def test_gold_whose_image_is_refused_is_asked_by_its_text_or_not_at_all_and_judges_both_models_or_none(
    gated: GateWorld, shared_data: Path, tmp_path: Path
) -> None:
    ribbon = (shared_data.parent / "cases" / "images" / "250x1.jpg").read_bytes()
    by_text, silent, whole = sorted(gated.gold())[:3]
    gated.pictures({by_text: ribbon, silent: ribbon, whole: an_image(5)})
    gold = gated.gold_set()
    posts = tuple(replace(post, text="") if post.thread_id == silent else post for post in gold.posts)
    asked = gold_questions(replace(gold, posts=posts), gated.home)
    rows = {row["thread_id"]: row for row in asked.rows}
    assert asked.by_text_alone == {by_text: "image too small: 250 by 1 pixels, at least 4 a side are needed"}
    assert asked.not_asked.keys() == {silent}
    assert "image too small" in asked.not_asked[silent]
    assert rows.keys() == set(gold.truth) - {silent}
    assert (len(rows[by_text]["images"]), len(rows[whole]["images"])) == (0, 1)

    report = gated.build(text_only=True)
    assert report.version
    folder = answered(tmp_path / "finished", asked.asked)
    row = register_adapter(
        folder,
        gated.home / report.version.path,
        kind="qlora",
        base_model="base",
        base_revision=None,
        dataset_version=report.version.dataset_version,
        code_version="1",
        seed=1,
        settings={},
        database=gated.database,
        home=gated.home,
        now=LATER,
    ).model
    evaluation = gated.evaluate()
    (line,) = [line for line in evaluation.lines if line.name == row.model_version]
    assert line.figures
    assert line.figures.n == len(gold.truth) - 1
    assert "1 gold posts without its score do not count" in line.note
    (judgement,) = evaluation.judgements
    assert {found.n for found in judgement.comparisons.values()} == {len(gold.truth) - 1}


def answered(folder: Path, threads: frozenset[int]) -> Path:
    """What a pod brings that was asked about ``threads``."""
    import numpy as np
    from safetensors.numpy import save_file

    (folder / "adapter").mkdir(parents=True)
    save_file({"lora": np.ones((2, 2), np.float32)}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "report.json").write_text("{}")
    gold = [{"thread_id": thread, "log_p": [math.log(1 / 3)] * 3} for thread in sorted(threads)]
    (folder / "scores.json").write_text(json.dumps({"gold": gold, "temperature": 1.0}))
    return folder


def test_an_image_that_kills_its_decoder_is_the_one_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(RIBBON if number == 3 else an_image(number))
    deadly = tmp_path / "check_data.py"
    deadly.write_text(
        "import json, os, signal, sys\n"
        "for path in json.loads(sys.stdin.read()):\n"
        "    if path.endswith('1.jpg'): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    print(json.dumps([path, 'image too small' if path.endswith('3.jpg') else None]), flush=True)\n"
    )
    monkeypatch.setattr("bizcharts_pipeline.training.onpod_checks.CHECK", deadly)
    assert image_problems(paths) == {paths[1]: CRASHED, paths[3]: "image too small"}


@pytest.mark.parametrize("setting", ["container_disk_gb", "volume_gb"])
def test_a_disk_that_is_too_small_for_a_training_is_refused_by_its_setting(tmp_path: Path, setting: str) -> None:
    def prepare(provider: str, **pods: object) -> object:
        settings = Settings(pod_provider=provider, pods=PodSettings.model_validate({setting: 20, **pods}))
        return script_job(settings, "abc", tmp_path, [], "train.py", least_disk_gb=40, least_disk_gb_here=5)

    with pytest.raises(TrainingError, match=rf"`{setting}` of \[pods\] is 20.*needs 40 GB.*Nothing was rented"):
        prepare("runpod")
    assert prepare("runpod", network_volume="abc")  # its size is not known here
    assert prepare("ssh", ssh_host="gpu.example.com")
    assert prepare("local")
