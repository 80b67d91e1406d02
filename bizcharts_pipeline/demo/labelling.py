"""Labels of the demo, by two simulated people and, through the job `labelling`, a simulated model."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.demo.label_apis.oracle import Oracle, world_truth
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.labels.stances import RATINGS, STANCES, Stance
from bizcharts_pipeline.warehouse.database import Database

SEED = 5
PEOPLE_RIGHT = 0.9  # share of a person's labels that agree with the hidden truth
MODEL_RIGHT = 0.9
KAPPA_BELOW_PEOPLE = "0.35"  # with some fifty gold posts, kappa has an error of +-0.2
MODEL_POSTS = 240
FAULTS = {LabelFault.RATE: 0.02, LabelFault.SERVER_ERROR: 0.02, LabelFault.REFUSAL: 0.02}
SECONDS_A_LABEL = 4.0

_COUNTS = """
SELECT (SELECT count(*) FROM gold_split), (SELECT count(*) FROM auto_labels WHERE status = 'labelled'),
       (SELECT count(*) FROM auto_labels WHERE status = 'refused'), (SELECT sum(usd) FROM auto_labels),
       (SELECT count(*) FROM label_queue),
       (SELECT arg_max(train_rows + validation_rows, created_at) FROM dataset_versions)
"""
_TRUST = "SELECT accuracy, accuracy_lo, accuracy_hi FROM auto_label_trust ORDER BY measured_at DESC LIMIT 1"
# Posts with a picture first, as the data set is made of them.
_TO_LABEL = """
SELECT t.thread_id FROM thread_ops AS t
LEFT JOIN thumbnails AS p ON p.thread_id = t.thread_id AND p.kind = 'thumbnail' AND p.status = 'stored'
WHERE NOT t.sticky AND t.op_text_clean IS NOT NULL ORDER BY p.thread_id IS NULL, hash(t.thread_id) LIMIT {most}
"""


@dataclass(frozen=True)
class LabelsReport:
    """Counts of labels and of the resulting data; accuracy is the model's on gold posts, with a 95 % interval."""

    people: int
    gold: int
    model: int
    refused: int
    usd: Decimal
    accuracy: float | None
    accuracy_lo: float | None
    accuracy_hi: float | None
    queue: int
    dataset_rows: int

    def __str__(self) -> str:
        right = (
            "not measured"
            if self.accuracy is None
            else f"{self.accuracy:.0%} right ({self.accuracy_lo:.0%} to {self.accuracy_hi:.0%})"
        )
        return (
            f"Labels: {self.people} by two simulated people; models are judged by {self.gold} of the posts (gold).\n"
            f"{self.model} by a simulated model, which would have cost ${self.usd:.3f} ({self.refused} refused);\n"
            f"on gold it is {right}. The data set for the vision model\n"
            f"has {counted(self.dataset_rows, 'post')} with pictures; {counted(self.queue, 'post')} wait for people."
        )


def label_world(
    world: World, database: Database, home: Path, now: datetime, run_job: Callable[[dict[str, str]], None]
) -> LabelsReport:
    """Create the demo's labels by simulated people and a simulated model; ``run_job`` runs the Dagster job `labelling`
    with extra environment variables."""
    people = label_by_people(world, database, LabelLedger(home / LEDGER), now)
    with SimulatedLabelApis(Oracle(world_truth(world, world.start, now), MODEL_RIGHT), rates=FAULTS) as apis:
        run_job(label_environment(apis))
    with database.read() as connection:
        counts = connection.execute(_COUNTS).fetchone()
        trust = connection.execute(_TRUST).fetchone()
    assert counts
    gold, model, refused, usd, queue, rows = counts
    accuracy, lo, hi = trust or (None, None, None)
    return LabelsReport(people, gold, model, refused, usd or Decimal(0), accuracy, lo, hi, queue, rows or 0)


def label_environment(apis: SimulatedLabelApis) -> dict[str, str]:
    """Return the environment variables that point the job `labelling` to the simulated model."""
    return {
        "OPENAI_BASE_URL": apis.openai_url,
        "OPENAI_API_KEY": "",  # a real key must not be sent
        "BIZCHARTS_AUTO_LABELS__PROVIDERS": "openai",
        "BIZCHARTS_AUTO_LABELS__PER_RUN": str(MODEL_POSTS),
        "BIZCHARTS_AUTO_LABELS__KAPPA_BELOW_PEOPLE": KAPPA_BELOW_PEOPLE,
        "BIZCHARTS_OPENAI__ENDPOINT": "chat",
        "BIZCHARTS_OPENAI__REQUESTS_PER_MINUTE": "100000",
    }


def label_by_people(world: World, database: Database, ledger: LabelLedger, now: datetime) -> int:
    """Store the labels of two simulated people; the second labels a third of the first one's posts. Return the number
    of labels."""
    with database.read() as connection:
        threads = [row[0] for row in connection.execute(_TO_LABEL.format(most=240)).fetchall()]
    truth = {thread.thread_id: thread.stance for thread in world.threads_between(world.start, now)}
    known = [thread for thread in threads if thread in truth]
    labels = [
        *_labels_by(known, truth, "labeller-1", now - timedelta(hours=3)),
        *_labels_by(known[::3], truth, "labeller-2", now - timedelta(hours=1)),
    ]
    return ledger.append(labels)


def _labels_by(threads: Sequence[int], truth: dict[int, Stance], labeller: str, begin: datetime) -> list[Label]:
    source = random.Random(f"{SEED} {labeller}")
    said = [truth[t] if source.random() < PEOPLE_RIGHT else source.choice(STANCES) for t in threads]
    return [
        Label(
            thread_id=thread,
            sentiment_rating=RATINGS[stance],
            labeler_id=labeller,
            labeled_at=begin + timedelta(seconds=SECONDS_A_LABEL * number),
            seconds=SECONDS_A_LABEL,
            origin="demo",
        )
        for number, (thread, stance) in enumerate(zip(threads, said, strict=True))
    ]
