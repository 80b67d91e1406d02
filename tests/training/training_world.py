"""Labelled posts with stored pictures, of which data sets are made."""

import functools
import hashlib
import io
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labelled_world import NOW, LabelledWorld
from PIL import Image

from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.training.dataset import DatasetReport, build_dataset
from bizcharts_pipeline.training.sharegpt import SPLITS, read_rows
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.threads import merge_threads
from bizcharts_pipeline.warehouse.values import literal, table


@functools.cache
def an_image(number: int, width: int = 8, height: int = 8) -> bytes:
    """A JPEG of noise, another one for each number."""
    content = io.BytesIO()
    Image.frombytes("RGB", (width, height), random.Random(number).randbytes(width * height * 3)).save(content, "JPEG")
    return content.getvalue()


@dataclass(frozen=True)
class TrainingWorld(LabelledWorld):
    """An installation with a picture store beside its labels."""

    def picture(self, thread_id: int, content: bytes | None = None, **fields: Any) -> str:
        """Store a picture of a thread, of its own unless ``content`` is given; return its SHA-256."""
        return self.pictures({thread_id: content or an_image(thread_id)}, **fields)[0]

    def pictures(self, contents: dict[int, bytes], **fields: Any) -> list[str]:
        """Store a picture of each thread."""
        store, hashes = PictureStore(self.home), []
        with self.database.write() as connection:
            for thread_id, content in contents.items():
                sha256 = hashlib.sha256(content).hexdigest()
                path = store.put(sha256, "image/jpeg", content)
                known = {"status": "stored", "sha256": sha256, "path": path, "media_type": "image/jpeg"}
                record_picture(connection, PictureRow(thread_id, "thumbnail", fetched_at=NOW, **(known | fields)))
                hashes.append(sha256)
        return hashes

    def post(self, texts: dict[int, str]) -> None:
        """Let the board have posts of these texts, each with a picture somewhere."""
        threads = [
            PreparedThread(SourceThread(number, NOW, "live", op_html=text, image_url=f"u{number}"), text, None, 0.0, ())
            for number, text in texts.items()
        ]
        with self.database.write() as connection:
            merge_threads(connection, threads, ingested_at=NOW, seen_at=NOW)

    def illustrated(self, labels: Iterable[Label]) -> None:
        """Label posts that have a picture each."""
        new = list(labels)
        self.label(new)
        self.pictures({label.thread_id: an_image(label.thread_id) for label in new})

    def label_by_models(self, labels: dict[int, str | None], model: str = "m", *, trusted: bool = True) -> None:
        """Let a version say something of posts, and let it be trusted or not."""
        columns = {"thread_id": "BIGINT", "label": "VARCHAR"}
        rows = table([{"thread_id": thread_id, "label": label} for thread_id, label in labels.items()], columns)
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO auto_labels (thread_id, label, provider, model, endpoint, prompt_version, status, "
                f"labeled_at) SELECT *, 'openai', {literal(model)}, 'chat', 'v1', 'ok', {literal(NOW)} FROM {rows}"
            )
            connection.execute(
                "INSERT INTO auto_label_trust (provider, model, endpoint, prompt_version, n, accuracy, accuracy_lo, "
                "accuracy_hi, trusted, measured_at) "
                f"VALUES ('openai', {literal(model)}, 'chat', 'v1', 150, 0.75, 0.67, 0.81, {trusted}, {literal(NOW)})"
            )

    def build(self, **settings: object) -> DatasetReport:
        return build_dataset(self.database, self.home, LabellingSettings.model_validate(settings), NOW)

    def rows(self, report: DatasetReport) -> list[dict[str, Any]]:
        """Return the rows of both splits, from the disk."""
        assert report.version
        return [row for split in SPLITS for row in read_rows(self.home / report.version.path, split)]
