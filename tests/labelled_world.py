"""The real labels, or a few made up, in a real ledger and database."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.labels.gold import GoldReport, extend_gold
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.text.duplicates import SHINGLE, normalise
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.values import table

NOW = datetime(2026, 1, 2, 3)
_TRAINING_LABELS = {
    "thread_id": "BIGINT",
    "sentiment_rating": "INTEGER",
    "labeler_id": "VARCHAR",
    "labeled_at": "TIMESTAMP",
    "skipped": "BOOLEAN",
    "origin": "VARCHAR",
    "subject_snapshot": "VARCHAR",
    "text_snapshot": "VARCHAR",
    "image_url_snapshot": "VARCHAR",
    "posted_at": "TIMESTAMP",
}


@dataclass(frozen=True)
class LabelledWorld:
    """An installation with labels and no posts of its own: what its labellers saw is all that is known of them."""

    home: Path

    @property
    def database(self) -> DatabaseFile:
        self.home.mkdir(parents=True, exist_ok=True)
        return DatabaseFile(self.home / "test.duckdb")

    @property
    def ledger(self) -> LabelLedger:
        return LabelLedger(self.home / LEDGER)

    def label(self, labels: Iterable[Label]) -> None:
        """Append to the ledger and, as the asset does, to the database."""
        new = list(labels)
        self.ledger.append(new)
        rows = table([{name: getattr(label, name) for name in _TRAINING_LABELS} for label in new], _TRAINING_LABELS)
        with self.database.write() as connection:
            connection.execute(f"INSERT INTO training_labels BY NAME SELECT * FROM {rows}")

    def draw(self, **settings: object) -> GoldReport:
        return extend_gold(self.database, self.ledger, LabellingSettings.model_validate(settings), NOW)

    def gold(self) -> set[int]:
        return {post.thread_id for post in self.ledger.gold()}


def real_labels(shared_data: Path) -> list[Label]:
    path = shared_data / "labels" / "biz_op_labels_2025_part_a.jsonl"
    return [_real(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def _real(row: dict[str, str]) -> Label:
    return Label(
        int(row["thread_id"]),
        int(row["sentiment_rating"]),
        row["labeler_id"],
        datetime.fromisoformat(row["labeled_at"]),
        text_snapshot=row["text_snapshot"],
        subject_snapshot=row["subject"],
        image_url_snapshot=row["image_url_snapshot"],
        posted_at=datetime.fromisoformat(row["posted_at"]),
        origin="file",
    )


def made_up(numbers: Sequence[int], month: int = 1, **fields: object) -> list[Label]:
    """Labels of posts that have nothing in common but the board."""
    return [
        replace(
            Label(
                number,
                number % 3 + 1,
                "ann",
                NOW,
                text_snapshot=" ".join(f"{number * 7919 + k * 104729:x}".translate(_LETTERS) for k in range(9)),
                posted_at=datetime(2025, month, 1 + number % 28),
            ),
            **fields,
        )
        for number in numbers
    ]


# Numbers are masked where texts are compared, so these are letters alone.
_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def whole_text(label: Label) -> str:
    return "\n".join(part for part in (label.subject_snapshot, label.text_snapshot) if part)


def grams(text: str) -> frozenset[str]:
    """The 5-grams of a text, normalised before; of a shorter one the whole."""
    words = normalise(text)
    return (
        frozenset(words[at : at + SHINGLE] for at in range(max(1, len(words) - SHINGLE + 1))) if words else frozenset()
    )


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The similarity of two texts by the definition."""
    return len(one & other) / len(one | other) if one and other else 0.0
