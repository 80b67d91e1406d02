"""A training of seconds, as a pod runs it: stdlib only, with checkpoints, messages for Dagster, and an adapter.

``python code/quick_training.py data/spec.json``; the specification names the seed, the number of steps, the seconds of
a step, and how it ends: 'well', 'raises', 'out of memory', 'diverges', 'hangs', 'no adapter'.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

CODES = {"out of memory": 3, "diverges": 4, "disk full": 5}
MESSAGES = Path("messages.jsonl")


def adapter(seed: int, size: int = 200_000) -> bytes:
    """The weights that this seed gives, whatever was interrupted meanwhile."""
    return b"".join(hashlib.sha256(f"{seed}:{n}".encode()).digest() for n in range(size // 32))


def tell(method: str, **params: object) -> None:
    with MESSAGES.open("a") as file:
        file.write(json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params}) + "\n")


def train(spec: dict[str, object]) -> int:
    seed, steps, ending = int(str(spec["seed"])), int(str(spec["steps"])), spec["ending"]
    resumed = sorted(Path("resume").glob("checkpoint-*")) + sorted(Path("checkpoints").glob("checkpoint-*"))
    done = max([int(path.name.split("-")[1]) for path in resumed], default=0)
    resumed_flat = Path("resume/trainer_state.json")
    if resumed_flat.exists():
        done = max(done, json.loads(resumed_flat.read_text())["global_step"])
    print(f"training with seed {seed} from step {done}", flush=True)
    print(f"pretended time: {os.environ.get('BIZCHARTS_NOW')}", flush=True)
    tell("opened", extras={})
    for step in range(done + 1, steps + 1):
        time.sleep(float(str(spec["seconds"])))
        loss = 2.0 / step
        print(f"step {step} of {steps}: loss {loss:.3f}", flush=True)
        payload = {"kind": "metrics", "step": step, "loss": loss, "tokens_per_second": 100.0, "gpu_mb": 0}
        tell("report_custom_message", payload=payload)
        if step == steps // 2 and ending != "well":
            if ending == "hangs":
                time.sleep(3600)
            if ending == "raises":
                raise RuntimeError("the training failed, as it was told to")
            if ending in CODES:
                print(f"error: {ending}", flush=True)
                return CODES[str(ending)]
        if step % 5 == 0:
            folder = Path("checkpoints") / f"checkpoint-{step}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "weights.bin").write_bytes(adapter(seed, 3200))
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if ending != "no adapter":
        target = Path("output") / "adapter"
        target.mkdir(parents=True, exist_ok=True)
        weights = adapter(seed, int(str(spec.get("adapter_bytes", 200_000))))
        (target / "adapter_model.safetensors").write_bytes(weights)
        report = {"sha256": hashlib.sha256(weights).hexdigest(), "steps": steps, "cuda": os.environ.get("CUDA", "")}
        (Path("output") / "report.json").write_text(json.dumps(report))
    tell("closed")
    return 0


if __name__ == "__main__":
    sys.exit(train(json.loads(Path(sys.argv[1]).read_text())))
