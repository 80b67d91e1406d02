"""The stages that train, judge and decide, as Dagster runs them; and what a run shows of a pod."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from labelled_world import NOW, LabelledWorld, made_up
from pydantic import ValidationError

from assets.champion_model import champion_model
from assets.human_labels import human_labels
from assets.learning_curve import learning_curve
from assets.model_evaluation import model_evaluation
from assets.qlora_adapter import qlora_adapter
from assets.text_models import cryptobert_adapter, setfit_model, text_ensemble, tfidf_model
from bizcharts_pipeline.models.pod_results import registered_as_adapter
from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.settings import PodSettings, Settings
from bizcharts_pipeline.text.question import WITHOUT_PICTURE
from bizcharts_pipeline.training.pod_job import ResultUnusable, train_on_pod
from bizcharts_pipeline.training.qlora_job import QloraTraining, qlora_training
from resources.labelling import Labelling
from resources.pod_watch import watched
from resources.pods import KEY, RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse
from schedules.pods import pods_reaped

WORDS = {1: "crash dump scam rug broke", 2: "question which wallet today how", 3: "moon pump buy lambo green"}


@pytest.fixture
def world(tmp_path: Path) -> LabelledWorld:
    """160 posts whose words tell their class most of the time."""
    world = LabelledWorld(tmp_path / "home")
    draw = Random(3)
    labels = []
    for label in made_up(range(1, 161)):
        told = label.sentiment_rating if draw.random() < 0.85 else draw.randint(1, 3)
        text = f"{label.text_snapshot} {' '.join(draw.sample(WORDS[told or 2].split(), 4))}"
        labels.append(made_up([label.thread_id], sentiment_rating=label.sentiment_rating, text_snapshot=text)[0])
    world.label(labels)
    world.draw(gold_posts=40)
    return world


def settings_of(world: LabelledWorld, **values: Any) -> Settings:
    return Settings.model_validate({"home": world.home, "labelling": {"gold_posts": 40}, **values})


def materialise(
    world: LabelledWorld,
    instance: dg.DagsterInstance,
    *assets: dg.AssetsDefinition,
    fails: bool = False,
    settings: Settings | None = None,
    **config: Any,
) -> dict[str, dg.AssetMaterialization]:
    settings = settings or settings_of(world)
    resources = {
        "warehouse": Warehouse(database=str(world.database.path), wait_seconds=30),
        "labelling": Labelling(home=str(world.home), values=settings.labelling.model_dump()),
        "training": Training.from_settings(settings),
        "runpod": RunPodResource.from_settings(settings),
    }
    run_config = {"ops": {name: {"config": value} for name, value in config.items()}}
    result = dg.materialize(
        assets, instance=instance, resources=resources, run_config=run_config, raise_on_error=not fails
    )
    assert result.success is not fails
    return {
        event.asset_key.to_user_string(): event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def query(world: LabelledWorld, sql: str) -> list[tuple[Any, ...]]:
    with world.database.read() as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.slow
def test_models_are_trained_registered_and_judged_and_the_champion_follows_the_gate(
    world: LabelledWorld, instance: dg.DagsterInstance
) -> None:
    assets = (human_labels, tfidf_model, text_ensemble, cryptobert_adapter, model_evaluation, champion_model)
    made = materialise(world, instance, *assets)
    rows = query(
        world, "SELECT model_version, kind, status, sha256, path, run_id FROM model_versions WHERE path NOT NULL"
    )
    trained = {kind: version for version, kind, *_ in rows if kind != "lexicon"}
    assert trained.keys() >= {"tfidf", "ensemble"}
    for name, kind in (("tfidf_model", "tfidf"), ("text_ensemble", "ensemble")):
        assert made[name].tags is not None
        (version,) = {row[0] for row in rows if row[0] == made[name].tags["dagster/data_version"]}
        assert version.startswith(kind)
        assert {"dataset_version", "sha256", "gold_posts", "accuracy", "macro_f1"} <= made[name].metadata.keys()
    assert "not on this machine" in str(made["cryptobert_adapter"].metadata["nothing_trained"].value)
    assert all((world.home / path / "model.json").is_file() for *_, path, _ in rows)
    table = str(made["model_evaluation"].metadata["table"].value)
    assert trained["tfidf"].removesuffix("-") in table.replace("\\", "")
    decisions = query(world, "SELECT model_version, promoted, decided_by, reason FROM model_decisions")
    assert {decided_by for _, _, decided_by, _ in decisions} == {"gate"}
    assert all(reason for *_, reason in decisions)
    champions = query(world, "SELECT model_version FROM model_versions WHERE status = 'champion'")
    said = made["champion_model"].tags
    assert said is not None
    assert said["dagster/data_version"] == (champions[0][0] if champions else "none")


@pytest.mark.slow
def test_the_learning_curve_is_reported_in_words_numbers_and_pictures(
    world: LabelledWorld, instance: dg.DagsterInstance
) -> None:
    made = materialise(world, instance, human_labels, learning_curve)["learning_curve"]
    assert "labels take about" in str(made.metadata["in words"].value)
    assert isinstance(made.metadata["accuracy_doubled"].value, float)
    assert str(made.metadata["macro_f1"].value).startswith("![")
    again = materialise(world, instance, human_labels, learning_curve)["learning_curve"]
    assert (again.tags or {})["dagster/data_version"] == (made.tags or {})["dagster/data_version"]
    assert query(world, "SELECT count(*) FROM learning_curves") == [(1,)]


def test_too_few_labels_for_a_learning_curve_fail_no_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = LabelledWorld(tmp_path / "home")
    world.label(made_up(range(1, 31)))
    made = materialise(world, instance, human_labels, learning_curve)["learning_curve"]
    assert "30 different posts of each class" in str(made.metadata["nothing_measured"].value)


@pytest.mark.slow
def test_a_person_who_overrides_the_gate_is_recorded_and_one_without_a_reason_is_not_heard(
    world: LabelledWorld, instance: dg.DagsterInstance
) -> None:
    materialise(world, instance, human_labels, tfidf_model)
    ((version,),) = query(world, "SELECT model_version FROM model_versions WHERE kind = 'tfidf'")
    chosen = {"override": version, "who": "ann"}
    materialise(world, instance, champion_model, fails=True, champion_model=chosen)
    assert query(world, "SELECT 1 FROM model_decisions") == []
    made = materialise(world, instance, champion_model, champion_model={**chosen, "reason": "it reads our slang"})
    assert made["champion_model"].metadata["model_version"].value == version
    assert query(world, "SELECT decided_by, reason, promoted FROM model_decisions") == [
        ("ann", "it reads our slang", True)
    ]


def test_a_pod_gets_the_gold_posts_without_their_labels_and_nothing_stays_of_what_was_sent(
    world: LabelledWorld, tmp_path: Path
) -> None:
    from bizcharts_pipeline.training.dataset import build_dataset

    settings = settings_of(world, pod_provider="local")
    build_dataset(world.database, world.home, settings.labelling.model_copy(update={"text_only": True}), NOW)
    with planned(world, settings) as order:
        code, data = order.job.folders["code"], order.job.folders["data"]
        questions = json.loads((data / "gold" / "gold.json").read_bytes())
        assert {question["thread_id"] for question in questions} == world.gold()
        assert {frozenset(question) for question in questions} == {frozenset({"thread_id", "question", "images"})}
        sent = json.loads((data / "dataset" / "train.json").read_bytes())
        assert not {row["messages"][0]["content"] for row in sent} & {question["question"] for question in questions}
        assert (code / "dagster_pipes" / "__init__.py").is_file()
        assert (code / "train_qwen.py").is_file()
        assert not order.job.needs_gpu
        assert order.job.secrets == ("HF_TOKEN",)  # the one key that a pod gets
        spec = json.loads((data / "spec.json").read_bytes())
        assert (spec["rank"], spec["base"]) == (16, "Qwen/Qwen2.5-VL-7B-Instruct")
        key = order.job.key
    assert not code.exists()
    kept = {"0123456789ab-result", "0123456789ab-unusable"}
    for left in ("0123456789ab", "0123456789ab-registered", *kept):
        (world.home / "staged" / left).mkdir()
    with planned(world, settings) as again:
        assert again.job.key == key
    assert {path.name for path in (world.home / "staged").iterdir()} == kept
    other = settings_of(world, pod_provider="local", ml={"training": {"rank": 8}})
    with planned(world, other) as changed:
        assert changed.job.key != key


def planned(world: LabelledWorld, settings: Settings) -> AbstractContextManager[QloraTraining]:
    return qlora_training(world.database, world.home, settings)


def test_a_broken_paid_result_is_put_aside_and_neither_taken_nor_paid_for_again(world: LabelledWorld) -> None:
    from bizcharts_pipeline.training.dataset import build_dataset

    settings = settings_of(world, pod_provider="local")
    build_dataset(world.database, world.home, settings.labelling.model_copy(update={"text_only": True}), NOW)
    rented = []

    def run(job: Job, into: Path) -> Finished:
        rented.append(job.key)
        into.mkdir()
        (into / "report.json").write_text('{"revision": null, "gpu": null}')
        answers = [{"thread_id": thread, "log_p": [-1.0, -1.0, -1.0]} for thread in sorted(order.gold.asked)]
        (into / "scores.json").write_text(json.dumps({"gold": answers[1:], "temperature": 1.0}))
        return Finished(into, "pod", None, Decimal(1), 60.0, 1, False)

    with planned(world, settings) as order, pytest.raises(ResultUnusable, match="1 of 40 gold posts") as caught:
        train_on_pod(registered_as_adapter(order, world.database, world.home, NOW, "run"), run)
    aside = world.home / "staged" / f"{order.job.key}-unusable"
    assert caught.value.folder == aside
    assert (aside / "report.json").is_file()
    for _ in range(2):
        with (
            pytest.raises(ResultUnusable, match=r"1 of 40 gold posts.*move or delete") as again,
            planned(world, settings),
        ):
            pass
        assert again.value.folder == aside
    assert len(rented) == 1
    assert query(world, "SELECT count(*) FROM model_versions") == [(0,)]
    shutil.rmtree(aside)
    with planned(world, settings) as order, pytest.raises(ResultUnusable):
        train_on_pod(registered_as_adapter(order, world.database, world.home, NOW, "run"), run)
    assert len(rented) == 2


@pytest.mark.slow
def test_the_vision_model_is_trained_judged_and_registered_on_this_machine_as_on_a_pod(
    world: LabelledWorld, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    from bizcharts_pipeline.demo.tiny_vlm import build_tiny_vlm
    from bizcharts_pipeline.training.dataset import build_dataset

    build_tiny_vlm(tmp_path / "tiny", [f"bearish neutral bullish {WITHOUT_PICTURE} {' '.join(WORDS.values())}"])
    settings = settings_of(
        world,
        pod_provider="local",
        vlm_base=str(tmp_path / "tiny"),
        ml={"training": {"quantise": "none", "epochs": 1, "batch": 8, "accumulate": 2}},
        pods={"poll_seconds": 0.5},
    )
    build_dataset(world.database, world.home, settings.labelling.model_copy(update={"text_only": True}), NOW)
    made = materialise(world, instance, qlora_adapter, model_evaluation, settings=settings)
    ((version, path, base, usd),) = query(
        world, "SELECT model_version, path, base_model, usd FROM model_versions WHERE kind = 'qlora'"
    )
    assert made["qlora_adapter"].tags is not None
    assert made["qlora_adapter"].tags["dagster/data_version"] == version
    assert (base, usd) == (str(tmp_path / "tiny"), 0)
    assert (world.home / path / "adapter_model.safetensors").is_file()
    metadata = made["qlora_adapter"].metadata
    assert {"last loss", "last validation accuracy", "curve", "dataset_version", "sha256"} <= metadata.keys()
    scored = query(world, f"SELECT thread_id FROM gold_scores WHERE model_version = '{version}'")
    assert {thread_id for (thread_id,) in scored} == world.gold()
    assert version in str(made["model_evaluation"].metadata["table"].value).replace("\\", "")
    assert not any((world.home / "staged").iterdir())


@pytest.mark.slow
def test_a_text_model_is_trained_on_a_pod_where_the_settings_say_so_and_judged_here(
    world: LabelledWorld, instance: dg.DagsterInstance
) -> None:
    settings = settings_of(
        world,
        pod_provider="local",
        ml={"training": {"text_on_pod": True, "setfit_pairs": 16, "text_tokens": 16}},
        pods={"poll_seconds": 0.5},
    )
    made = materialise(world, instance, human_labels, setfit_model, cryptobert_adapter, settings=settings)
    ((version, status, path, usd, seconds),) = query(
        world, "SELECT model_version, status, path, usd, seconds FROM model_versions WHERE kind = 'setfit'"
    )
    assert (status, usd) == ("candidate", 0)
    assert (world.home / path / "model.json").is_file()
    metadata = made["setfit_model"].metadata
    assert metadata["pods"].value == 1
    assert metadata["seconds_on_pods"].value == pytest.approx(seconds)
    assert {"accuracy", "macro_f1", "dataset_version", "sha256"} <= metadata.keys()
    scored = query(world, f"SELECT thread_id FROM gold_scores WHERE model_version = '{version}'")
    assert {thread_id for (thread_id,) in scored} == world.gold()
    assert not any((world.home / "staged").iterdir())
    assert "not on this machine" in str(made["cryptobert_adapter"].metadata["nothing_trained"].value)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_messages_are_read_however_they_are_cut_and_garbage_among_them_costs_nothing(
    instance: dg.DagsterInstance, size: int
) -> None:
    def metrics(step: int, **figures: object) -> bytes:
        payload = {"kind": "metrics", "step": step, "steps": 3, **figures}
        return json.dumps({"method": "report_custom_message", "params": {"payload": payload}}).encode()

    lines = [
        b'{"method": "opened", "params": {"extras": {}}}',
        metrics(1, loss=2.0, gpu_mb=None),
        b"\xff\xfe not json",
        b'{"method": "rm -rf"}',
        b'{"method": "report_custom_message", "params": {"payload": {"kind": "metrics", "step": "x"}}}',
        metrics(2, loss=float("nan"), validation={"accuracy": 0.5}),
        metrics(3, loss=1.0),
        b'{"method": "report_custom_message", "params": {"payload": {"kind": "stage", "stage": "judging"}}}',
        b'{"method": "closed", "params": null}',
    ]
    stream = b"\n".join(lines) + b"\n"

    @dg.asset
    def watching(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with watched(context) as watch:
            for start in range(0, len(stream), size):
                watch.messages(stream[start : start + size])
                watch.log(stream[start : start + size])
        assert watch.metrics == {1: {"loss": 2.0}, 2: {"validation accuracy": 0.5}, 3: {"loss": 1.0}}
        return dg.MaterializeResult(metadata=watch.metadata())

    result = dg.materialize([watching], instance=instance)
    (event,) = result.get_asset_materialization_events()
    assert {name: value.value for name, value in event.materialization.metadata.items()} == {
        "last loss": 1.0,
        "last validation accuracy": 0.5,
    }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_python_discards_still_cancels_the_job_on_the_pod(
    instance: dg.DagsterInstance, stop: signal.Signals
) -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), stop)  # an exception raised in here is only printed

    @dg.asset
    def watching(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        before = signal.getsignal(stop)
        with watched(context) as watch:
            assert not watch.cancelled()
            Finalized()
            assert watch.cancelled()
        assert signal.getsignal(stop) is before
        return dg.MaterializeResult()

    assert dg.materialize([watching], instance=instance).success


def test_the_settings_of_pods_reach_the_resource_unchanged_and_no_secret_is_among_them(tmp_path: Path) -> None:
    assert not [name for name in PodSettings.model_fields if "key" in name and name != "ssh_key"]  # a file's path
    settings = Settings.model_validate({"home": tmp_path, "pods": {"gpus": "NVIDIA L4", "usd_per_run": "1.25"}})
    resource = RunPodResource.from_settings(settings)
    assert resource.settings().pods == settings.pods
    with pytest.raises(ValidationError):
        resource.model_copy(update={"values": {**resource.values, "max_hours": -1}}).settings()


def test_the_reaper_asks_nobody_where_there_is_nothing_and_names_what_it_can_not_end(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    resource = RunPodResource.from_settings(Settings.model_validate({"home": tmp_path / "home"}))
    context = dg.build_sensor_context(instance=instance, resources={"runpod": resource})
    answer = pods_reaped(context)
    assert isinstance(answer, dg.SkipReason)
    assert "no key" in str(answer.skip_message)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("jump", [3_600, -3_600], ids=["ahead", "back"])
def test_the_pod_of_a_run_that_just_crashed_is_left_alone_though_the_wall_clock_was_set(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    resource = RunPodResource.from_settings(Settings.model_validate({"home": tmp_path / "home"}))
    resource.clock()  # the installation's first look at a clock, before the jump
    run = instance.create_run_for_job(dg.GraphDefinition(name="train").to_job())
    instance.report_run_failed(run)
    asked: list[bool] = []
    monkeypatch.setattr(RunPodResource, "reap", lambda _, is_running, seconds: asked.append(is_running(run.run_id)))
    wall = time.time
    monkeypatch.setattr("schedules.pods.time", SimpleNamespace(time=lambda: wall() + jump))
    pods_reaped(dg.build_sensor_context(instance=instance, resources={"runpod": resource}))
    assert asked == [True]


def test_the_stages_that_train_import_nothing_heavy() -> None:
    program = (
        "import sys, jobs.training, schedules.pods, bizcharts_pipeline.cli.pods\n"
        "names = ['numpy', 'pandas', 'sklearn', 'torch', 'transformers', 'runpod', 'dagster_pipes.nothing']\n"
        "print([name for name in names if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout.strip() == "[]"
