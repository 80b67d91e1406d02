"""One training on this machine as on a pod, in a process that kills itself: ``HOME KIND STEP``.

The pod's life is the real one of the provider `local`; of the vision model the script is a stand-in that answers the
gold posts. STEP is one of :data:`STEPS`, or anything else to run to the end and print the model's version.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bizcharts_pipeline.models import registry
from bizcharts_pipeline.models.pod_results import registered_as_adapter, registered_as_text_model
from bizcharts_pipeline.pods.protocol import Finished, Job, State
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training import pod_job
from bizcharts_pipeline.training.qlora_job import qlora_training
from bizcharts_pipeline.training.text_pod_job import setfit_script, text_training
from bizcharts_pipeline.training.text_set import load_text_set
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from resources.pods import RunPodResource

NOW = datetime(2026, 1, 3)
STEPS = (
    "fetched",
    "verified",
    "published",
    "before the commit",
    "registered",
    "marked",
    "half deleted",
    "renamed away",
)
STAND_IN = """
import json, pathlib
adapter = pathlib.Path("output/adapter"); adapter.mkdir(parents=True)
header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
(adapter / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
gold = json.loads(pathlib.Path("data/gold/gold.json").read_text())
answers = [{"thread_id": row["thread_id"], "log_p": [-1.0, -2.0, -0.5]} for row in gold]
pathlib.Path("output/scores.json").write_text(json.dumps({"gold": answers, "temperature": 1.0}))
pathlib.Path("output/report.json").write_text('{"revision": null, "gpu": null}')
"""


class Silent:
    """Listens to nothing; nobody cancels."""

    def state(self, state: State, detail: str) -> None: ...

    def log(self, chunk: bytes) -> None: ...

    def messages(self, chunk: bytes) -> None: ...

    def cancelled(self) -> bool:
        return False


def settings_of(home: Path) -> Settings:
    training = {"text_on_pod": True, "setfit_pairs": 16, "text_tokens": 16}
    return Settings(home=home, pod_provider="local", ml={"training": training}, pods={"poll_seconds": 0.2})


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(module: Any, name: str, when: Callable[..., bool]) -> None:
    """Kill this process when ``module.name`` is called with arguments for which ``when`` holds."""
    kept = getattr(module, name)

    def called(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            die()
        return kept(*arguments, **named)

    setattr(module, name, called)


def arm(step: str, home: Path) -> None:
    """See to it that this process dies at a step."""
    if step == "verified":
        before(registry, "publish", lambda _, where, **__: where == home)
    elif step == "published":
        before(registry, "as_row", lambda *_, **__: True)
    elif step == "before the commit":
        before(registry, "set_figures", lambda *_: True)
    elif step == "registered":
        before(pod_job, "write_atomically", lambda path, _: path.name == pod_job.MARKER)
    elif step == "marked":
        before(pod_job, "_delete", lambda *_: True)
    elif step == "half deleted":
        kept = shutil.rmtree

        def some(path: Path, **named: Any) -> None:
            kept(path, **named)
            if Path(path).parent.name.endswith(pod_job.RESULT):
                die()

        shutil.rmtree = some  # type: ignore[assignment]
    elif step == "renamed away":
        before(pod_job, "sync", lambda path: path.name == pod_job.STAGED)


def main(home: Path, kind: str, step: str) -> None:
    """Train."""
    settings, database = settings_of(home), DatabaseFile(home / "test.duckdb")
    resource = RunPodResource.from_settings(settings)

    def run(job: Job, into: Path) -> Finished:
        if kind == "qlora":
            job = replace(job, command=(sys.executable, "-c", STAND_IN))
        finished = resource.run(job, Silent(), into, run_id="run", checkpoint_minutes=10)
        if step == "fetched":
            die()
        return finished

    if kind == "qlora":
        order = qlora_training(database, home, settings)
        registering = registered_as_adapter
    else:
        text_set = load_text_set(database, home, NOW)
        script = setfit_script(settings)
        order = text_training(script, text_set, settings)  # type: ignore[assignment]
        registering = registered_as_text_model  # type: ignore[assignment]
    with order as training:
        arm(step, home)
        registered, finished = pod_job.train_on_pod(registering(training, database, home, NOW, "run"), run)
    print(json.dumps([registered.model.model_version, finished.pods]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
