"""The script that trains the vision-language model, run as on a pod: on a CPU, with 4-bit weights, on a tiny model."""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import onpod_world as world
import pytest

from bizcharts_pipeline.autolabel.protocol import Question
from bizcharts_pipeline.autolabel.providers.replies import first_token_answer
from bizcharts_pipeline.demo.tiny_vlm import build_tiny_vlm
from bizcharts_pipeline.scoring.endpoint import chat_body
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.scoring.vision import vision_scorer
from bizcharts_pipeline.sentiment.artifact import new_model, publish
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Picture, Post
from bizcharts_pipeline.sentiment.temperature import at_temperature
from bizcharts_pipeline.settings import VisionSettings
from bizcharts_pipeline.warehouse.models import ModelVersion

if not os.environ.get("CI"):
    pytest.importorskip("trl")

pytestmark = pytest.mark.timeout(600)
KILLED_AFTER, STEPS = 17, 27  # checkpoints are at each second step
SIZES = {"train": 128, "validation": 24, "gold": 40, "epochs": 3}


@dataclass(frozen=True)
class Trained:
    """A job that was trained to its end."""

    root: Path
    log: str
    truth: list[int]
    asked_of_the_hub: tuple[str, ...] = ()

    def read(self, name: str) -> dict:
        return json.loads((self.root / "output" / name).read_bytes())

    def adapter(self) -> bytes:
        return (self.root / "output" / "adapter" / "adapter_model.safetensors").read_bytes()


@contextmanager
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub that has nothing; yield its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_error(404)

        do_POST = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_tiny_vlm(folder, world.CORPUS)
    return folder


@pytest.fixture(scope="module")
def _killed_meanwhile(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Trained]]:
    """A job in processes of its own, beside this one: killed in the middle, its newest checkpoint torn, and the one
    before it carried to a new pod, where it ends with somebody listening as Dagster does."""
    root = tmp_path_factory.mktemp("job") / "killed"
    truth = world.make_job(root, base, **SIZES)

    def kill_and_resume() -> Trained:
        assert world.run_until(root, KILLED_AFTER) == -9
        torn = world.checkpoints(root / "checkpoints")[0] / "adapter_model.safetensors"
        torn.write_bytes(torn.read_bytes()[:5_000] if torn.exists() else b"")
        (root / "checkpoints").rename(root / "resume")
        with hub() as (address, asked):
            online = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "CI": "", "NO_PROXY": "127.0.0.1"}
            pipes = world.pipes(root / "messages.jsonl")
            ended = world.run(root, "train_qwen.py", "data/spec.json", **pipes, **online)
        assert ended.returncode == 0, ended.stderr
        return Trained(root, ended.stdout, json.loads(truth.read_bytes()), tuple(asked))

    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(kill_and_resume)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def trained(base: Path, _killed_meanwhile: Future[Trained], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained in one go."""
    root = tmp_path_factory.mktemp("job") / "undisturbed"
    truth = world.make_job(root, base, **SIZES)
    with pytest.MonkeyPatch.context() as patch:
        assert in_process(root, patch) == 0
    return Trained(root, "", json.loads(truth.read_bytes()))


@pytest.fixture(scope="module")
def resumed(_killed_meanwhile: Future[Trained]) -> Trained:
    return _killed_meanwhile.result()


@pytest.mark.slow
def test_a_tiny_model_learns_to_see_and_to_read(trained: Trained) -> None:
    report, scores = trained.read("report.json"), trained.read("scores.json")
    losses = [loss for _, loss in report["loss"]]
    assert len(losses) == report["steps"] == STEPS
    assert sum(losses[-5:]) < 0.1 * sum(losses[:5])
    guesses = [max(range(3), key=row["log_p"].__getitem__) for row in scores["gold"]]
    right = sum(guess == true for guess, true in zip(guesses, trained.truth, strict=True))
    assert right >= 0.8 * len(trained.truth)  # a third by chance
    assert report["validation"]["accuracy"] > 0.8
    assert report["label_mass"]["gold"] > 0.9
    assert report["adapted_modules"] == {"language": 14, "vision": 0}


@pytest.mark.slow
def test_what_it_writes_is_what_others_read(trained: Trained) -> None:
    scores = trained.read("scores.json")
    assert scores.keys() == {"validation", "gold", "temperature"}
    assert [row["thread_id"] for row in scores["gold"]] == list(range(900, 940))
    assert all(row["label"] in (0, 1, 2) and len(row["log_p"]) == 3 for row in scores["validation"])
    assert trained.read("report.json").keys() >= {"revision", "gpu", "tokens_per_second", "peak_gpu_mb", "versions"}
    endings = {path.suffix for path in (trained.root / "output" / "adapter").iterdir()}
    assert endings == {".json", ".safetensors", ".jinja"}


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_bits(trained: Trained, resumed: Trained) -> None:
    assert resumed.adapter() == trained.adapter()
    assert resumed.read("scores.json") == trained.read("scores.json")


@pytest.mark.slow
def test_no_library_tells_its_makers_of_a_training(resumed: Trained) -> None:
    assert resumed.asked_of_the_hub == ()


@pytest.mark.slow
def test_it_goes_on_from_the_newest_checkpoint_that_is_whole(resumed: Trained) -> None:
    torn, whole, *_ = world.checkpoints(resumed.root / "resume")
    said = [message for message in world.said(resumed.log.splitlines()) if message["kind"] in ("stage", "note")]
    assert any(torn.name in message.get("text", "") for message in said)
    assert {"kind": "stage", "stage": "training", "resumed_from": f"resume/{whole.name}"} in said


@pytest.mark.slow
def test_each_step_is_told_as_it_happens(resumed: Trained) -> None:
    lines = (resumed.root / "messages.jsonl").read_text().splitlines()
    messages = [json.loads(line) for line in lines]
    assert [messages[0]["method"], messages[-1]["method"]] == ["opened", "closed"]
    told = [m["params"]["payload"] for m in messages if m["method"] == "report_custom_message"]
    metrics = [payload for payload in told if payload["kind"] == "metrics"]
    steps = [payload["step"] for payload in metrics if "loss" in payload]
    assert steps == list(range(steps[0], STEPS + 1))
    assert 1 < steps[0] <= KILLED_AFTER
    assert all(payload["tokens_per_second"] > 0 for payload in metrics[1:] if "loss" in payload)
    assert max(payload["validation"]["macro_f1"] for payload in metrics if "validation" in payload) > 0.8


@pytest.mark.slow
def test_a_reloaded_adapter_says_the_same(resumed: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process than the one that trained it."""
    monkeypatch.chdir(resumed.root)
    monkeypatch.setattr("sys.argv", ["evaluate_qwen.py", "data/spec.json", "--adapter", "output/adapter"])
    assert world.module("evaluate_qwen").main() == 0
    again = resumed.read("evaluation.json")
    assert {name: again[name] for name in ("validation", "gold", "temperature")} == resumed.read("scores.json")


@pytest.mark.slow
def test_a_served_adapter_says_of_posts_what_the_training_says_of_them(
    trained: Trained, base: Path, tmp_path: Path
) -> None:
    """By its server, the client's request, the picture's bytes and the stored calibration."""
    spec = json.loads((trained.root / "data" / "spec.json").read_bytes())
    settings = {name: value for name, value in spec.items() if name not in ("base", "revision", "resume")}
    with new_model(tmp_path) as folder:
        shutil.copytree(trained.root / "output" / "adapter", folder, dirs_exist_ok=True)
        artifact = publish(folder, tmp_path, kind="qlora", base_model=str(base), base_revision=None,
                           dataset_version="d", code_version="1", seed=7, settings=settings)  # fmt: skip
    row = ModelVersion(artifact.model_version, "qlora", str(base), "d", None, None, None, "champion",
                       f"models/{artifact.model_version}", artifact.sha256)  # fmt: skip
    shutil.copytree(trained.root / "data" / "gold" / "images", tmp_path / "images")
    asked = json.loads((trained.root / "data" / "gold" / "gold.json").read_bytes())
    posts = [
        Post("", each["question"].partition("\n\n")[2], each["thread_id"],
             Picture("stored", Path(each["images"][0]), None, 0.0) if each["images"] else None)
        for each in asked
    ]  # fmt: skip
    with world.module("serve_qwen").serving(tmp_path / "models" / row.model_version, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}/v1"
        place = Place(tmp_path, VisionSettings(endpoint=endpoint, timeout_seconds=120))
        scores = vision_scorer(row, place, LexiconScorer()).score(posts)
        server.shutdown()
        serve_qwen, model = world.module("serve_qwen"), server.RequestHandlerClass.model
        worker = world.module("queue_worker").Worker(lambda body: serve_qwen.answered(model, body))
        bodies = {
            str(n): chat_body(row.model_version, Question("", each["question"], None)) for n, each in enumerate(asked)
        }
        outputs = worker({"input": {"requests": bodies | {"odd": {"model": "another"}}}})
    assert outputs["answers"].pop("odd")["status"] == 404
    assert {key: reply["status"] for key, reply in outputs["answers"].items()} == dict.fromkeys(bodies, 200)
    assert all(first_token_answer(json.dumps(reply["body"])).probabilities for reply in outputs["answers"].values())
    assert {score.method for score in scores} == {"qlora"}
    temperature = trained.read("scores.json")["temperature"]
    for score, gold in zip(scores, trained.read("scores.json")["gold"], strict=True):
        expected = at_temperature(gold["log_p"], temperature)
        assert (score.p_bearish, score.p_neutral, score.p_bullish) == pytest.approx(list(expected), abs=0.02)


@pytest.mark.slow
def test_the_base_alone_guesses(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.root)
    report = world.module("evaluate_qwen").evaluate(Path("data/spec.json"), None).report
    assert report["validation"]["accuracy"] < 0.6
    assert report["label_mass"]["gold"] < 0.5


@pytest.mark.slow
def test_the_first_token_says_what_the_whole_label_says(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what bases are asked whose labels begin alike."""
    import numpy as np

    monkeypatch.chdir(trained.root)
    spec = world.module("spec").read_spec(Path("data/spec.json"))
    base = world.module("model").read_base(spec)
    processor = world.module("processor").load_processor("output/adapter", base, spec, local_files_only=True)
    model = world.module("model").load_adapted(spec, base, Path("output/adapter"))
    rows, scoring = world.module("rows").read_data(Path("data")).gold, world.module("scoring")
    first = [tokens[0] for tokens in scoring.answers(processor)]
    assert len(set(first)) == 3
    quick = scoring.score(model, processor, rows).log_p
    monkeypatch.setattr(scoring, "_first_tokens", lambda _: None)
    whole = scoring.score(model, processor, rows).log_p
    assert (quick.argmax(-1) == whole.argmax(-1)).mean() > 0.95
    assert np.abs(np.exp(quick) - np.exp(whole)).max() < 0.2


@pytest.mark.slow
def test_a_training_that_is_continued_starts_from_what_the_adapter_knows(
    trained: Trained, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "job"
    few = {"train": 16, "validation": 0, "gold": 40, "epochs": 1, "learning_rate": 1e-4}
    truth = json.loads(world.make_job(root, base, **few, parent="qlora-a").read_bytes())
    shutil.copytree(trained.root / "output" / "adapter", root / "data" / "parent")
    assert in_process(root, monkeypatch) == 0
    report = json.loads((root / "output" / "report.json").read_bytes())
    assert report["loss"][0][1] < 0.2 * trained.read("report.json")["loss"][0][1]
    assert report["adapted_modules"] == {"language": 14, "vision": 0}
    gold = json.loads((root / "output" / "scores.json").read_bytes())["gold"]
    guesses = [max(range(3), key=row["log_p"].__getitem__) for row in gold]
    assert sum(guess == true for guess, true in zip(guesses, truth, strict=True)) >= 0.8 * len(truth)
    adapter = (root / "output" / "adapter" / "adapter_model.safetensors").read_bytes()
    assert adapter != trained.adapter()


@pytest.mark.slow
def test_an_adapter_of_another_shape_is_not_trained_further(
    trained: Trained, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "job"
    world.make_job(root, base, 12, 0, 0, parent="qlora-a", rank=8)
    shutil.copytree(trained.root / "output" / "adapter", root / "data" / "parent")
    assert in_process(root, monkeypatch) == 6
    assert "the adapter of qlora-a has another r than" in capsys.readouterr().err


@pytest.mark.slow
def test_training_stops_where_nothing_is_gained_and_keeps_the_best(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate so high that it forgets: the adapter that is kept is the one that was best, not the last."""
    root = tmp_path / "job"
    world.make_job(root, base, 48, 12, 0, epochs=10, learning_rate=0.1, patience=2, quantise="none", targets="qv")
    assert in_process(root, monkeypatch) == 0
    report = json.loads((root / "output" / "report.json").read_bytes())
    assert report["steps"] < 30
    evaluated = {
        m["step"]: m["validation"]["nll"]
        for m in world.said(capsys.readouterr().out.splitlines())
        if "nll" in m.get("validation", {})
    }
    assert report["best_step"] == min(list(evaluated)[:-1], key=evaluated.__getitem__) == report["steps"] - 2
    from safetensors.numpy import load_file

    kept = load_file(root / "output" / "adapter" / "adapter_model.safetensors")
    last = load_file(world.checkpoints(root / "checkpoints")[0] / "adapter_model.safetensors")
    assert any((kept[name] != last[name]).any() for name in kept)
    assert in_process(root, monkeypatch) == 0  # begun again after its end: it knows what it knew, and learns no more
    again = load_file(root / "output" / "adapter" / "adapter_model.safetensors")
    assert all((kept[name] == again[name]).all() for name in kept)


def test_a_loss_that_is_no_number_has_its_own_status(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "job"
    world.make_job(root, base, 48, 0, 0, learning_rate=1e30, quantise="none")
    assert in_process(root, monkeypatch) == 4
    assert "Diverged:" in capsys.readouterr().err.splitlines()[-1]
    assert not (root / "output").exists()


def test_bad_data_are_named_before_anything_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "job"
    world.make_job(root, base, 12, 6, 3)
    picture = next((root / "data" / "dataset" / "images").iterdir())
    picture.write_bytes(picture.read_bytes()[:300])
    assert in_process(root, monkeypatch) == 6
    said = capsys.readouterr()
    assert picture.name in said.err
    assert "Traceback" not in said.err
    assert "loading" not in said.out


def in_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the script in a job's folder without the seconds that a new process takes to begin."""
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["train_qwen.py", "data/spec.json"])
    return int(world.module("train_qwen").main())
