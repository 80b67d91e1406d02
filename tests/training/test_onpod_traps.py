"""What goes wrong silently when vision-language models are tuned: each is held here by the scripts' own functions."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import onpod_world as world
import pytest
from PIL import Image

from bizcharts_pipeline.demo.tiny_vlm import build_tiny_vlm
from bizcharts_pipeline.text.question import question

if not os.environ.get("CI"):
    pytest.importorskip("trl")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("traps")
    build_tiny_vlm(root / "base", world.CORPUS)
    world.make_job(root / "job", root / "base", 40, 10, 10)
    return root


@pytest.fixture(scope="module")
def spec(root: Path) -> Any:
    return world.module("spec").read_spec(root / "job" / "data" / "spec.json")


@pytest.fixture(scope="module")
def base(spec: Any) -> Any:
    return world.module("model").read_base(spec)


@pytest.fixture(scope="module")
def processor(spec: Any, base: Any) -> Any:
    return world.module("processor").load_processor(spec.base, base, spec, local_files_only=True)


@pytest.fixture(scope="module")
def rows(root: Path) -> Any:
    return world.module("rows").read_data(root / "job" / "data").train


@pytest.fixture(scope="module")
def model(spec: Any, base: Any) -> Any:
    return world.module("model").load_base(spec, base)


def test_the_label_is_never_cut_off(processor: Any, rows: Any, tmp_path: Path) -> None:
    """TRL's own limit of 1,024 tokens would take it from the end of a post as long as the longest."""
    scoring, module = world.module("scoring"), world.module("rows")
    longest = question("ф" * 750, picture=True).replace("<image>\n", "")
    Image.effect_noise((600, 600), 90).convert("RGB").save(tmp_path / "p.jpg")
    large = module.Row("", 0, longest, (tmp_path / "p.jpg",), 2)
    batch = scoring.Collator(processor)([scoring.record(large), scoring.record(rows[0])])
    assert batch["input_ids"].shape[1] > 1_024
    for tokens, name in zip(batch["labels"], ("bullish", world.LABELS[rows[0].label]), strict=True):
        assert processor.tokenizer.decode(tokens[tokens != scoring.IGNORED]) == f"{name}<|im_end|>\n"


def test_a_literal_placeholder_is_never_read(processor: Any, rows: Any) -> None:
    scoring = world.module("scoring")
    batch = scoring.Collator(processor)([scoring.record(row) for row in rows[:8]])
    texts = processor.tokenizer.batch_decode(batch["input_ids"])
    assert not any("<image>" in text for text in texts)
    assert ["<|image_pad|>" in text for text in texts] == [bool(row.images) for row in rows[:8]]


def test_the_model_is_asked_as_it_was_taught(processor: Any, rows: Any) -> None:
    """Token for token and pixel for pixel: the prompt of scoring is that of training."""
    scoring = world.module("scoring")
    for row in (next(r for r in rows if r.images), next(r for r in rows if not r.images)):
        taught, asked = scoring.Collator(processor)([scoring.record(row)]), scoring.prompts(processor, [row])
        prompt = taught["input_ids"][0][taught["labels"][0] == scoring.IGNORED]
        assert prompt.tolist() == asked["input_ids"][0].tolist()
        assert ("pixel_values" in asked) == bool(row.images)
        if row.images:
            assert taught["pixel_values"].equal(asked["pixel_values"])


def test_a_score_hardly_depends_on_what_is_scored_beside_it(model: Any, processor: Any, rows: Any) -> None:
    scoring = world.module("scoring")
    alone = [scoring.score(model, processor, [row]).log_p[0] for row in rows[:6]]
    together = scoring.score(model, processor, rows[:6]).log_p
    assert abs(together - alone).max() < 0.2  # 4-bit products depend on it a little


def test_a_model_says_the_same_inside_and_outside_of_the_trainer(
    spec: Any, base: Any, processor: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the trainer makes a 16-bit model's 32-bit adapter compute in 16 bits; who loads it later has none."""
    import torch
    from peft import get_peft_model

    monkeypatch.setattr(world.module("model"), "DTYPE", torch.bfloat16)
    adapted: Any = get_peft_model(world.module("model").load_base(spec, base), world.module("model").lora(spec, base))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    adapted.train()  # with dropout, of which scores know nothing either
    score = world.module("scoring").score
    with torch.autocast("cpu", torch.bfloat16):
        inside = score(adapted, processor, rows[:4]).log_p
    assert (score(adapted, processor, rows[:4]).log_p == inside).all()


def test_the_vision_tower_is_left_alone(model: Any, base: Any, spec: Any) -> None:
    four_bit = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert len(four_bit) == 14  # seven in each of two layers of the language model
    assert all(".language_model.layers." in name for name in four_bit)
    states = [model.get_submodule(name).weight.quant_state for name in four_bit]
    assert {(state.quant_type, state.nested) for state in states} == {("nf4", True)}  # quantised twice
    with pytest.raises(world.module("outcome").BadInput, match="vision tower are quantised"):
        world.module("model").require_vision_unquantised(_Named("model.visual.blocks.0.mlp"), base, quantised=True)


@pytest.mark.parametrize("architecture", ["qwen2_5_vl", "qwen3_vl", "llava"])
@pytest.mark.parametrize("targets", ["linear", "qv"])
def test_adapters_go_where_they_were_asked_for(architecture: str, targets: str) -> None:
    """On each base's real module names, of which those of the tower and of the language model overlap."""
    import re

    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    base = world.module("bases").base_of(architecture)
    config = AutoConfig.for_model(architecture)
    config.text_config.num_hidden_layers = 2
    setattr(config.vision_config, "num_hidden_layers" if architecture == "llava" else "depth", 2)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    frozen, thawed = (
        {name for name in linears if re.fullmatch(base.targets(targets, freeze_vision=freeze), name)}
        for freeze in (True, False)
    )
    assert len(frozen) == (14 if targets == "linear" else 4)
    assert not any(base.of_vision(name) for name in frozen)
    tower = {name for name in linears if base.of_vision(name)}
    assert len(thawed - frozen) == {"qwen2_5_vl": 10, "qwen3_vl": 8, "llava": 12}[architecture]
    assert thawed - frozen <= tower
    assert all(any(name.startswith(kept) for kept in base.unquantised) for name in tower)


def test_what_learns_is_32_bit_and_stays_the_base_while_it_is_judged(
    spec: Any, base: Any, processor: Any, rows: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer halves an adapter on 4-bit weights, but not one from a checkpoint; and an evaluation in between
    repacks 4-bit weights on some CPUs, and rounds them."""
    import torch

    monkeypatch.chdir(root)
    script, model = world.module("train_qwen"), world.module("model").load_base(spec, base)
    judge = world.module("judge").Judge(processor, (), world.module("calibration").UNCALIBRATED, 3, "", print)
    trainer = script.make_trainer(model, processor, spec, base, list(rows), judge)
    learning = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in learning} == {torch.float32}
    assert trainer.args.max_length is None
    assert trainer.args.save_total_limit >= 2
    assert trainer.args.bf16 is torch.cuda.is_available()  # both have other defaults
    assert trainer.args.activation_checkpointing
    weights = [m.weight for m in trainer.model.modules() if type(m).__name__ == "Linear4bit"]
    before = [(weight.data.clone(), weight.quant_state.absmax.clone()) for weight in weights]
    world.module("scoring").score(trainer.model, processor, rows[:4])
    assert trainer.model.training
    for weight, (data, scales) in zip(weights, before, strict=True):
        assert weight.data.equal(data)
        assert weight.quant_state.absmax.equal(scales)


def test_no_gradient_goes_back_through_a_frozen_tower(
    spec: Any, base: Any, processor: Any, rows: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT, TRL and the trainer each make all embeddings ask for one: a fifth of a step's work, for nothing."""
    monkeypatch.chdir(root)
    scoring, script = world.module("scoring"), world.module("train_qwen")
    judge = world.module("judge").Judge(processor, (), world.module("calibration").UNCALIBRATED, 3, "", print)
    trainer = script.make_trainer(world.module("model").load_base(spec, base), processor, spec, base, list(rows), judge)
    trainer.model.activation_checkpointing_enable({"use_reentrant": False})  # as it is when training begins
    seen = []
    tower = next(module for name, module in trainer.model.named_modules() if name.endswith(f".{base.vision}"))
    tower.register_forward_hook(lambda *call: seen.append(call[-1].pooler_output))
    some = [row for row in rows if row.images][:2]
    trainer.model(**scoring.Collator(processor)([scoring.record(row) for row in some]), use_cache=False).loss.backward()
    assert [vectors.requires_grad for vectors in seen] == [False]
    learning = {name: each for name, each in trainer.model.named_parameters() if each.requires_grad}
    assert all(each.grad.abs().max() > 0 for name, each in learning.items() if "lora_B" in name)


NEEDED = ("trainer_state.json", "progress.json", "adapter_model.safetensors", "optimizer.pt", "scheduler.pt")


@pytest.mark.parametrize("torn", [*NEEDED, "rng_state.pth", "best.safetensors"])
def test_a_torn_checkpoint_is_passed_over_and_so_is_one_of_another_training(torn: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    checkpoints = world.module("checkpoints")
    for step in (9, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("adapter_model.safetensors", "best.safetensors"):
            save_file({"a": torch.ones(100)}, folder / name)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"a": torch.ones(100)}, folder / name)
        (folder / "progress.json").write_text('{"fingerprint": "mine"}')
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    assert checkpoints.newest_complete([tmp_path], "mine") == (tmp_path / "checkpoint-10", [])
    whole = (tmp_path / "checkpoint-10" / torn).read_bytes()
    (tmp_path / "checkpoint-10" / torn).write_bytes(whole[: len(whole) // 2])
    found, (passed_over,) = checkpoints.newest_complete([tmp_path], "mine")
    assert found == tmp_path / "checkpoint-9"
    assert "checkpoint-10" in passed_over
    assert checkpoints.newest_complete([tmp_path], "another's")[0] is None


def test_pictures_have_the_specified_sizes(processor: Any, spec: Any, tmp_path: Path) -> None:
    """The base's own limits are others: its largest picture would be sixteen thousand tokens."""
    scoring, row = world.module("scoring"), world.module("rows").Row
    counts = []
    for size in ((8, 8), (900, 1100)):
        Image.new("RGB", size).save(tmp_path / "picture.png")
        asked = scoring.prompts(processor, [row("", 0, "?", (tmp_path / "picture.png",), None)])
        counts.append(int((asked["input_ids"] == processor.image_token_id).sum()))
    assert counts == [2 * 2, 2 * 3]
    assert spec.min_pixels <= 2 * 2 * 28**2 <= 2 * 3 * 28**2 <= spec.max_pixels < 3 * 4 * 28**2


def test_rarer_classes_are_shown_more_often_and_the_scores_do_not_show_it(rows: Any) -> None:
    import numpy as np

    module, calibration = world.module("rows"), world.module("calibration")
    some = [r for r in rows if r.label == 1] + [r for r in rows if r.label == 0][:2] + [r for r in rows if r.label == 2]
    shown = module.balanced(some, seed=1)
    natural, counts = module.class_counts(some), module.class_counts(shown)
    assert counts[0] == module.MAX_REPEATS * 2
    assert counts[1] == counts[2] == max(natural)
    assert shown == module.balanced(some, seed=1)
    shift = calibration.Calibration(calibration.prior_shift(natural, counts), 1.0)
    blind = shift.probabilities(
        np.log([[count / sum(counts) for count in counts]])
    )  # a model that learned shares alone
    assert np.allclose(blind, [[count / sum(natural) for count in natural]])


def test_the_temperature_is_found() -> None:
    import numpy as np

    calibration = world.module("calibration")
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(4_000, 3))
    labels = np.array([draw.choice(3, p=np.exp(row)) for row in calibration.log_softmax(logits)])
    assert calibration.fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)


HOSTILE = ("truncated", "html", "empty", "bomb", "ribbon", "missing", "svg", "outside")


def test_hostile_pictures_are_named_not_met_in_mid_epoch(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = [row for row in world.make_rows(data / "dataset", 40, 5) if row["images"]][: len(HOSTILE) + 2]
    paths = [data / "dataset" / row["images"][0] for row in rows]
    paths[0].write_bytes(paths[0].read_bytes()[:-200])
    paths[1].write_text("<html>429 Too Many Requests</html>")
    paths[2].write_bytes(b"")
    paths[3].write_bytes(_png(60_000, 60_000))
    Image.new("RGB", (402, 2)).save(paths[4])
    paths[5].unlink()
    paths[6].write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    rows[7]["images"] = ["../../base/config.json"]
    (data / "dataset" / "train.json").write_text(json.dumps(rows))
    with pytest.raises(world.module("outcome").BadInput) as raised:
        world.module("rows").read_data(data)
    first, *named = str(raised.value).splitlines()
    assert first.startswith(f"{len(HOSTILE)} problems")
    assert sorted({int(line.split("row ")[1].split(":")[0]) for line in named}) == list(range(len(HOSTILE)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L", "CMYK"])
def test_every_kind_of_picture_is_seen_as_people_see_it(mode: str, processor: Any, tmp_path: Path) -> None:
    module, scoring = world.module("rows"), world.module("scoring")
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    picture = Image.new("RGBA", (3, 3), (255, 0, 0, 0)) if mode in ("RGBA", "LA") else Image.new("RGB", (3, 3), "white")
    picture.convert(mode).save(path)
    seen = world.module("checks").open_image(path)
    assert seen.mode == "RGB"
    assert seen.getpixel((1, 1)) == (255, 255, 255)  # red, but transparent: on white it is not to be seen
    assert "pixel_values" in scoring.prompts(processor, [module.Row("", 0, "?", (path,), None)])


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": [{"role": "user", "content": "?"}], "images": []},
        {
            "messages": [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "bullish"}],
            "images": [],
        },
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Bullish"}], "images": []},
        {
            "messages": [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "bullish"}],
            "images": [],
        },
        {
            "messages": [{"role": "user", "content": "x" * 9_000}, {"role": "assistant", "content": "bullish"}],
            "images": [],
        },
        {"messages": None},
        17,
    ],
)
def test_rows_that_would_teach_something_else_are_refused(changed: Any, tmp_path: Path) -> None:
    rows = world.make_rows(tmp_path / "dataset", 3, 6)
    rows[1] = changed
    (tmp_path / "dataset" / "train.json").write_text(json.dumps(rows))
    with pytest.raises(world.module("outcome").BadInput, match="row 1: "):
        world.module("rows").read_data(tmp_path, ["<|im_end|>"])


@pytest.mark.parametrize(
    "changed",
    [
        {"base": "nobody/knows"},
        {"seed": "7"},
        {"epochs": float("nan")},
        {"rank": True},
        {"more": 1},
        {"max_pixels": 900},
    ],
)
def test_a_specification_that_is_off_is_refused(changed: dict[str, Any], root: Path, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(world.SPEC | {"base": str(root / "base")} | changed))
    with pytest.raises(world.module("outcome").BadInput):
        world.module("spec").read_spec(path)


def test_a_hub_token_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in a header makes a library's message that has the header in it."""
    hub = world.module("hub")
    for token, sent in (("", None), ("hf_secret\n", "hf_secret")):
        monkeypatch.setenv("HF_TOKEN", token)
        assert hub.hub_token() == sent
    monkeypatch.setenv("HF_TOKEN", "hf_se\ncret")
    bad_input = world.module("outcome").BadInput
    with pytest.raises(bad_input, match=r"^HF_TOKEN contains characters that are not allowed in a token\Z"):
        hub.hub_token()


def test_pickled_weights_are_no_base(spec: Any, base: Any, root: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    shutil.copytree(root / "base", tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    weights = load_file(root / "base" / "model.safetensors")
    torch.save(weights, tmp_path / "base" / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        world.module("model").load_base(dataclasses.replace(spec, base=str(tmp_path / "base")), base)


def test_a_known_base_has_a_pinned_commit(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(world.SPEC | {"base": "Qwen/Qwen2.5-VL-7B-Instruct"}))
    assert len(world.module("spec").read_spec(path).commit) == 40


def test_each_end_has_its_own_status() -> None:
    import torch
    from safetensors import SafetensorError

    status = world.module("outcome").exit_status
    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (
        full,
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),  # torch.save's
        _caused(RuntimeError("the checkpoint could not be written"), full),
    ):
        assert status(error) == 5, repr(error)
    with pytest.raises((OSError, RuntimeError)) as raised:
        torch.save(torch.zeros(1_000_000), _Full())
    assert status(raised.value) == 5
    assert status(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")) == 3
    assert status(MemoryError()) == 3
    assert status(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")) == 3
    assert status(OSError(errno.EACCES, "no")) == status(KeyError("x")) == 1


@pytest.mark.slow
def test_the_environment_is_made_once_and_named_by_its_requirements(tmp_path: Path) -> None:
    """Without packages, so without a network: what is installed is the tools' affair."""
    (tmp_path / "none.txt").write_text("")
    environment = world.ENVIRONMENT | {"BIZCHARTS_WORKSPACE": str(tmp_path / "volume"), "PATH": "/usr/bin:/bin"}
    command = ["bash", str(world.CODE / "bootstrap.sh"), str(tmp_path / "none.txt")]
    logs = [
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert ["installing" in log for log in logs] == [True, False]
    python = Path((tmp_path / "environment-python").read_text().strip())
    assert python.is_relative_to(tmp_path / "volume")
    assert subprocess.run([python, "-c", ""]).returncode == 0


class _Full:
    """A file on a disk with room for the beginning alone."""

    def __init__(self) -> None:
        self._room = 600

    def write(self, content: bytes) -> int:
        if len(content) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._room -= len(content)
        return len(content)

    def flush(self) -> None:
        pass


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class _Named:
    """A model of one module with a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def named_modules(self) -> list[tuple[str, object]]:
        return [(self._name, type("Linear4bit", (), {})())]


def _png(width: int, height: int) -> bytes:
    """Return the head of a picture that would be gigabytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
