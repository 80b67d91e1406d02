"""The fault matrix in docs/reliability.md, generated from the marks of the tests.

    python -m tools.reliability           # writes it into the document

A test that proves what becomes of a stage in a fault is marked ``@pytest.mark.fault(FAULT, stage=STAGE,
expected=TEXT)``. Run after a mark, a fault, a stage or a reason has changed; a test compares the document with the
marks. A cell without a test has a reason in :data:`NOT_COVERED`.
"""

import contextlib
import io
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->\n"

FAULTS = {
    "SIGKILL": "the process is killed",
    "SIGSTOP": "the process is stopped for a while, and another one runs",
    "ENOSPC": "the disk is full",
    "EIO": "a write or a flush to disk fails",
    "dropped network": "connections are reset or refused, or answers break off",
    "slow network": "answers come late, or not at all",
    "clock jump": "the clock is far ahead or behind",
    "torn log": "the newest entry of a log is incomplete",
    "power cut": "what was not flushed to disk is lost",
    "log > memory": "the log of the database is larger than its memory limit",
}
STAGES = {
    "poll": "`catalog_snapshot`, with the spool of polls",
    "archive import": "`warosu_posts`",
    "thumbnails": "`thumbnails`",
    "image features": "`image_features`",
    "scoring": "`scored_posts`, with a model on this machine",
    "vision scoring": "`scored_posts`, with a model on a server or a serverless worker",
    "index": "`fear_greed_index`, `coin_sentiment`",
    "prices": "`coin_prices`",
    "reference index": "`reference_index`",
    "labeller": "a label by key press",
    "label import": "`bizcharts labels import`",
    "human labels": "`human_labels`",
    "auto-labels": "`auto_labels`",
    "label queue": "`label_queue`",
    "data set": "`sharegpt_dataset`",
    "training": "`tfidf_model`; the other text models are registered by the same code",
    "training on a pod": "`qlora_adapter`, from the order of a pod to its end",
    "evaluation": "`model_evaluation`",
    "promotion": "`champion_model`",
    "model release": "`model_release`",
    "drift report": "`drift_report`",
    "exports": "`index_exports`, `bizcharts export`",
    "alerts": "`alerts`",
    "maintenance": "`maintenance`",
    "compaction": "the rewrite of the database file",
    "backup": "`bizcharts backup`",
    "restore": "`bizcharts restore`",
    "snapshot": "`bizcharts snapshot`",
    "migrations": "the first command of a newer version",
    "move": "`bizcharts migrate --to`",
    "database": "any transaction, and the checkpoint after it",
}
NETWORK = {
    *("poll", "archive import", "thumbnails", "vision scoring", "prices", "reference index", "auto-labels"),
    *("training on a pod", "model release", "alerts", "move"),
}
# Faults that can come to some stages only: who asks no host meets no network, who writes no log no torn one.
ONLY = {
    "dropped network": NETWORK,
    "slow network": NETWORK,
    "log > memory": {"database"},
    "clock jump": set(STAGES) - {"database", "compaction"},
    "torn log": set(STAGES) - {"exports", "backup", "restore", "snapshot", "model release", "move", "compaction"},
}
MANY = 4  # a test of so many stages is listed by itself
_BY_BROWSER = "not refused; a label has the time of the browser, and the newest of a labeller counts, whatever its time"
_AS_TRAINING = (
    "no test of its own; the pod's ledger is written as that of the labels, the model registered as in `training`"
)
_AS_KILLED = (
    "no test with a real fault of the disk; what is not complete is a draft that nothing opens, as after a kill"
)
_DATED = (
    "by a clock that is behind, the labels are in the future and the file is refused; one ahead is not noticed: labels "
    "have the times of their file, the record of the import that of the clock"
)
_ALERTED = "not refused; by a clock that is ahead the last poll is old, and the alert says so"
_EACH_STAGE = "no test of its own; each stage that writes to the database has one"
_MOVE_NETWORK = "no test; the catalogue is asked through PostgreSQL's own client, and an incomplete target is not used"
_NOT_COVERED = {
    _BY_BROWSER: [("labeller", "clock jump")],
    _AS_TRAINING: [("training on a pod", fault) for fault in ("SIGSTOP", "EIO", "torn log", "power cut")],
    _AS_KILLED: [("move", fault) for fault in ("EIO", "clock jump", "power cut")],
    _DATED: [("label import", "clock jump")],
    _ALERTED: [("alerts", "clock jump")],
    _EACH_STAGE: [("database", "EIO")],
    _MOVE_NETWORK: [("move", "slow network")],
}
NOT_COVERED = {cell: reason for reason, cells in _NOT_COVERED.items() for cell in cells}


@dataclass(frozen=True, order=True)
class Proof:
    """One marked test."""

    stage: str
    fault: str
    expected: str
    test: str  # file and function


def proofs() -> list[Proof]:
    """Return the proofs of all marked tests, sorted; imports them, but runs none.

    Raises:
        ValueError: a mark names an unknown stage or fault, or a test could not be imported.
    """
    import pytest

    marked = [f"{path}" for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.fault(" in path.read_text()]
    found: set[Proof] = set()

    class Collector:
        def pytest_itemcollected(self, item: Any) -> None:
            for mark in item.iter_markers("fault"):
                file = item.path.relative_to(ROOT)
                found.add(
                    Proof(mark.kwargs["stage"], mark.args[0], mark.kwargs["expected"], f"{file}::{item.originalname}")
                )

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = pytest.main(
            ["--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *marked], [Collector()]
        )
    if status:
        raise ValueError(printed.getvalue())
    for proof in found:
        if proof.stage not in STAGES or proof.fault not in FAULTS:
            raise ValueError(f"{proof.test}: no such stage or fault: {proof.stage}, {proof.fault}")
    return sorted(found)


def with_matrix(document: str, found: Iterable[Proof]) -> str:
    """Return the document with its matrix and lists written anew.

    Raises:
        ValueError: the document has no place for them; or a cell has no test and no reason, or both.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT} lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + _matrix(found) + end + after


def _matrix(found: Iterable[Proof]) -> str:
    tests: dict[tuple[str, str], list[Proof]] = defaultdict(list)
    for proof in found:
        tests[proof.stage, proof.fault].append(proof)
    possible = {(stage, fault) for stage in STAGES for fault in FAULTS if stage in ONLY.get(fault, STAGES)}
    covered = len(possible & set(tests))
    if stray := sorted((possible - set(tests)) ^ set(NOT_COVERED)):
        raise ValueError(f"no test and no reason, or a reason although it is tested or cannot be: {stray}")
    lines = [f"| stage | {' | '.join(FAULTS)} |", "|---" * (1 + len(FAULTS)) + "|"]
    for stage in STAGES:
        cells = [_cell(len(tests[stage, fault]), (stage, fault) in possible) for fault in FAULTS]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    lines += ["", f"{covered} of {len(possible)} possible cells are covered.", ""]
    lines += ["### Not covered", ""]
    reasons: dict[str, list[str]] = defaultdict(list)
    for (stage, fault), reason in NOT_COVERED.items():
        reasons[reason].append(f"{stage} × {fault}")
    lines += [f"* {', '.join(cells)}: {reason}." for reason, cells in reasons.items()]
    stages_of: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for stage in STAGES:
        for fault in FAULTS:
            for proof in tests[stage, fault]:
                stages_of[fault, proof.expected, proof.test].append(stage)
    many = {key for key, stages in stages_of.items() if len(stages) >= MANY}
    lines += ["", "### Tests of many stages", ""]
    lines += [
        f"* {fault}: {expected} (`{test}`): {', '.join(stages)}."
        for (fault, expected, test), stages in stages_of.items()
        if (fault, expected, test) in many
    ]
    lines += ["", "### Stages, and further tests of each", "", "| stage | what it is | tests |", "|---|---|---|"]
    for stage, what in STAGES.items():
        further = [
            f"{fault}: {proof.expected} (`{proof.test}`)"
            for fault in FAULTS
            for proof in tests[stage, fault]
            if (fault, proof.expected, proof.test) not in many
        ]
        lines.append(f"| {stage} | {what} | {'<br>'.join(further)} |")
    lines.append("")
    return "\n".join(lines)


def _cell(tests: int, possible: bool) -> str:
    return "" if not possible else str(tests) if tests else "no"


if __name__ == "__main__":
    try:
        DOCUMENT.write_text(with_matrix(DOCUMENT.read_text(encoding="utf-8"), proofs()), encoding="utf-8")
    except ValueError as error:
        sys.exit(f"tools.reliability: {error}")
