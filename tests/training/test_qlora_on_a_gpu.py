"""The real shape of Qwen2.5-VL-7B, with random weights, trained by the real script within 24 GB of a GPU.

    python -m pytest -m acceptance tests/training/test_qlora_on_a_gpu.py -s

Needs a CUDA device, 20 GB of disk for the weights and no network; it prints step time, tokens a second and memory.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import onpod_world as world
import pytest

from bizcharts_pipeline.demo.tiny_vlm import build_tiny_vlm

CAP_GB = 24  # of 10⁹ bytes: an RTX 4090 has a little more
SHARD_BYTES = 4_000_000_000
TEXT = {
    **{"hidden_size": 3_584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28},
    **{"num_key_value_heads": 4, "vocab_size": 152_064, "max_position_embeddings": 128_000, "initializer_range": 0.02},
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
VISION = {
    **{"depth": 32, "hidden_size": 1_280, "intermediate_size": 3_420, "num_heads": 16, "out_hidden_size": 3_584},
    **{"fullatt_block_indexes": [7, 15, 23, 31], "initializer_range": 0.02},
}


@pytest.mark.acceptance
@pytest.mark.timeout(1_800)
def test_the_7b_shape_trains_within_24_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    write_base(tmp_path / "base")
    root = tmp_path / "job"
    real = {
        "batch": 2,
        "accumulate": 4,
        "epochs": 1,
        "learning_rate": 2e-4,
        "min_pixels": 50_176,
        "max_pixels": 401_408,
    }
    world.make_job(root, tmp_path / "base", 96, 16, 8, **real)
    lengthen(root / "data")
    torch.cuda.set_per_process_memory_fraction(CAP_GB * 1e9 / torch.cuda.get_device_properties(0).total_memory)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["train_qwen.py", "data/spec.json"])
    assert world.module("train_qwen").main() == 0
    report = json.loads((root / "output" / "report.json").read_bytes())
    assert report["adapted_modules"] == {"language": 196, "vision": 0}
    assert report["peak_gpu_mb"] <= CAP_GB * 1_000
    print({name: report[name] for name in ("gpu", "steps", "seconds", "tokens_per_second", "peak_gpu_mb", "versions")})
    tokens = tokens_of_a_step(root, real["batch"] * real["accumulate"])
    print(f"about {tokens:.0f} tokens and {tokens / report['tokens_per_second']:.2f} s a step")


def write_base(folder: Path) -> None:
    """Write a base of the real shape, its weights drawn at random, with the tiny one's tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    build_tiny_vlm(folder, world.CORPUS)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_bytes())
    config["text_config"] |= TEXT
    config["vision_config"] |= VISION
    config["text_config"].pop("layer_types", None)
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    shards: list[dict[str, Any]] = [{}]
    size, places = 0, {}
    for name, shape in ((name, weight.shape) for name, weight in model.state_dict().items()):
        plain = len(shape) == 1  # norms and biases
        weight = torch.ones(shape) if plain and "norm" in name else torch.zeros(shape) if plain else None
        drawn = torch.randn(shape, device="cuda", dtype=torch.bfloat16) * 0.02 if weight is None else weight
        if size + drawn.nbytes > SHARD_BYTES:
            save_file(shards[-1], folder / f"model-{len(shards):05}.safetensors", {"format": "pt"})
            shards[-1] = {}
            shards.append({})
            size = 0
        shards[-1][name] = drawn.to("cpu", torch.bfloat16).contiguous()
        places[name] = f"model-{len(shards):05}.safetensors"
        size += drawn.nbytes
    save_file(shards[-1], folder / f"model-{len(shards):05}.safetensors", {"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lengthen(data: Path) -> None:
    """Make posts and pictures as long and as large as the board's: 60 words, thumbnails of 250 pixels."""
    from PIL import Image

    for path in (data / "dataset" / "train.json", data / "dataset" / "validation.json"):
        rows = json.loads(path.read_bytes())
        for row in rows:
            row["messages"][0]["content"] += " thread" * 60
        path.write_text(json.dumps(rows))
    for path in data.glob("*/images/*.jpg"):
        with Image.open(path) as picture:
            picture.resize((250, 200)).save(path)


def tokens_of_a_step(root: Path, rows: int) -> float:
    """Return how many tokens the model reads in a step of ``rows`` posts, by the script's own collator."""
    spec = world.module("spec").read_spec(root / "data" / "spec.json")
    base, scoring = world.module("model").read_base(spec), world.module("scoring")
    processor = world.module("processor").load_processor(spec.base, base, spec, local_files_only=True)
    some = world.module("rows").read_data(root / "data").train[:40]
    return rows * statistics.mean(
        int(scoring.Collator(processor)([scoring.record(row)])["attention_mask"].sum()) for row in some
    )
