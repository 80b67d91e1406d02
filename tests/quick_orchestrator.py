"""One training from first to last in a process of its own, to be killed and started again.

``python quick_orchestrator.py HOME NUMBER``; HOME has ``orders.json`` with the values of ``[pods]`` and of each
training its specification. What became of it stands in ``HOME/outcomes/NUMBER.json``.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from quick_training import adapter

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.pods.identity import job_key
from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
from bizcharts_pipeline.pods.life import run_job
from bizcharts_pipeline.pods.protocol import Job, State
from bizcharts_pipeline.pods.providers import open_provider
from bizcharts_pipeline.pods.steady_clock import open_clock
from bizcharts_pipeline.settings import Settings

SCRIPT = Path(__file__).parent / "quick_training.py"


class Loud:
    """Prints what happens; nobody cancels."""

    def state(self, state: State, detail: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {state.value}: {detail}", flush=True)

    def log(self, chunk: bytes) -> None:
        sys.stdout.write(chunk.decode(errors="replace"))
        sys.stdout.flush()

    def messages(self, chunk: bytes) -> None: ...

    def cancelled(self) -> bool:
        return False


def quick_job(home: Path, number: int, spec: dict[str, object]) -> Job:
    """The job of this number; its folders are made anew and are always the same."""
    content = json.dumps(spec, sort_keys=True).encode()
    code, data = home / "code", home / "jobs" / str(number)
    if not (code / SCRIPT.name).exists():
        write_atomically(code / SCRIPT.name, SCRIPT.read_bytes())
    write_atomically(data / "spec.json", content)
    if size := int(str(spec.get("data_bytes", 0))):
        write_atomically(data / "data.bin", adapter(0, size))
    return Job(
        key=job_key("quick", str(number), content),
        folders={"code": code, "data": data},
        setup=None,
        command=("{python}", f"code/{SCRIPT.name}", "data/spec.json"),
        environment={},
        least_disk_gb=5,
    )


def settings_of(home: Path, orders: dict[str, object]) -> Settings:
    return Settings.model_validate({"home": home, "pods": orders["pods"]})


def main(home: Path, number: int) -> None:
    orders = json.loads((home / "orders.json").read_text())
    settings = settings_of(home, orders)
    job = quick_job(home, number, orders["trainings"][number])
    into = home / "results" / str(number)
    try:
        ledger, now = PodLedger(home / LEDGER), open_clock((home / LEDGER).parent)
        finished = run_job(job, open_provider(settings), ledger, settings.pods, Loud(), into, now, time.sleep)
    except BizchartsError as error:
        outcome = {
            "error": type(error).__name__,
            "reason": getattr(error, "reason", None),
            "retry": getattr(error, "retry", False),
            "message": str(error),
        }
    else:
        outcome = {
            "folder": str(finished.folder),
            "usd": str(finished.usd),
            "pods": finished.pods,
            "reattached": finished.reattached,
            "seconds": finished.seconds,
        }
    write_atomically(home / "outcomes" / f"{number}.json", json.dumps(outcome).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
