"""The additional steps of `demo --full`: models trained on the demo's labels, one of them on a simulated rented pod.

The job `training` trains the text models on this machine. The job `training_qlora` rents a pod from a control plane on
loopback, sends the data set through a real sshd, trains a tiny, random Qwen2.5-VL with the script of real pods, fetches
the adapter and terminates the pod. Injected faults: an order that succeeds despite an error response, no free GPU at
first, and connection losses.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.demo.pods.billing import PodBill
from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.demo.pods.faults import PodFault
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.text.question import question
from bizcharts_pipeline.warehouse.database import Database

FAULTS = (PodFault.NO_CAPACITY, PodFault.CREATE_LANDS, PodFault.LINK_DROPPED, PodFault.LINK_DROPPED)
TRAINING_SECONDS = 900  # time limit of a job
CORPUS_POSTS = 500

_MODELS = """
SELECT m.model_version, m.status, e.n, e.accuracy, e.accuracy_lo, e.accuracy_hi, e.macro_f1
FROM model_versions AS m JOIN (
    SELECT model_version, max_by(struct_pack(n, accuracy, accuracy_lo, accuracy_hi, macro_f1), evaluated_at) AS f
    FROM model_evaluations GROUP BY model_version
) AS newest ON newest.model_version = coalesce(m.refit_of, m.model_version), (SELECT UNNEST(newest.f)) AS e
WHERE m.status <> 'retired'
ORDER BY e.accuracy DESC, m.status DESC, m.model_version
"""
_TEXTS = "SELECT subject, op_text_clean FROM thread_ops ORDER BY thread_id LIMIT {most}"


class NotInstalled(BizchartsError):
    """The libraries or programs for `demo --full` are missing."""


@dataclass(frozen=True)
class TrainedModel:
    """One model's results on the demo's gold posts, with a 95 % interval. A champion refitted on all labels has the
    results with which it won."""

    model_version: str
    status: str
    gold_posts: int
    accuracy: float
    accuracy_lo: float
    accuracy_hi: float
    macro_f1: float


@dataclass(frozen=True)
class TrainingReport:
    """The models, and the simulated cost of the pods."""

    models: list[TrainedModel]
    bill: PodBill


def require_training() -> None:
    """Check that all that the training of `demo --full` requires is installed, before minutes are spent.

    Raises:
        NotInstalled: one is missing; the message says how to install it.
    """
    from importlib.util import find_spec
    from shutil import which

    if missing := [name for name in ("torch", "trl", "peft", "runpod") if find_spec(name) is None]:
        raise NotInstalled(f"demo --full needs {', '.join(missing)}: make install-ml install-pods")
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [name for name in ("ssh", "rsync", "sshd") if which(name, path=search) is None]:
        raise NotInstalled(
            f"demo --full needs {', '.join(missing)}: apt install openssh-client openssh-server rsync (Debian)"
        )


def train_world(database: Database, home: Path, run_job: Callable[[str, dict[str, str]], None]) -> TrainingReport:
    """Train every model on the labels of the demo; ``run_job`` runs a Dagster job with extra environment variables."""
    from bizcharts_pipeline.demo.tiny_vlm import build_tiny_vlm

    base = home / "tiny-vlm"
    with database.read() as connection:
        texts = connection.execute(_TEXTS.format(most=CORPUS_POSTS)).fetchall()
    asked = [question("\n".join(filter(None, text)), picture=True) for text in texts]
    build_tiny_vlm(base, [*asked, *STANCES])
    run_job("training", {})
    with PodControl(home / "pod-host") as control:
        control.fail_next(*FAULTS)
        run_job(
            "training_qlora",
            {
                "RUNPOD_API_BASE_URL": control.url,
                "RUNPOD_API_KEY": control.key,
                "BIZCHARTS_POD_PROVIDER": "runpod",
                "BIZCHARTS_VLM_BASE": str(base),
                "BIZCHARTS_PODS__BOOTSTRAP": "false",
                "BIZCHARTS_PODS__PYTHON": sys.executable,
                "BIZCHARTS_PODS__POLL_SECONDS": "0.5",
                "BIZCHARTS_ML__TRAINING__LEARNING_RATE": "0.002",  # the model is untrained, and the data set small
                "BIZCHARTS_ML__TRAINING__EPOCHS": "4",
                "OMP_NUM_THREADS": "1",  # such small matrices are slower on two threads
            },
        )
        bill = control.bill()
    with database.read() as connection:
        models = [TrainedModel(*row) for row in connection.execute(_MODELS).fetchall()]
    return TrainingReport(models, bill)
