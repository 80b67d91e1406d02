"""A board with opening posts in a real database, and image hosts on loopback, for the tests of this room."""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.demo.server import BoardServer, Page
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.images.client import ImageClient
from bizcharts_pipeline.images.fetch import FetchReport, fetch_pictures
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.settings import ImageSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.snapshots import record_poll
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 3, 1, 12)


def md5_of(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


class PictureHost(BoardServer):
    """Serves what is put into ``files`` by path, and ``archived`` as archive.json."""

    def __init__(self) -> None:
        super().__init__("biz")
        self.files: dict[str, Page] = {}
        self.archived: list[int] = []

    def page(self, path: str, query: str) -> Page | None:
        if path == "/biz/archive.json":
            return Page(json.dumps(self.archived).encode())
        return self.files.get(path)

    def put(self, path: str, content: bytes, content_type: str = "image/jpeg") -> str:
        self.files[path] = Page(content, content_type)
        return self.url + path

    @property
    def asked(self) -> list[str]:
        return [record.path for record in self.requests]


@dataclass
class PictureWorld:
    """An installation whose live host and archive are two servers."""

    home: Path
    board: PictureHost
    archive: PictureHost
    settings: ImageSettings
    now: datetime = NOON

    @property
    def database(self) -> DatabaseFile:
        return DatabaseFile(self.home / "test.duckdb")

    def client(self) -> ImageClient:
        rate = self.home / "rate"
        rate.mkdir(exist_ok=True)
        quick = Timeouts(connect=1, read=1, total=3, back_off=0.01)
        return ImageClient(
            PoliteSession(0, rate_folder=rate, timeouts=quick),
            PoliteSession(0, rate_folder=rate, timeouts=quick),
            board="biz",
            api_url=self.board.url,
            image_url=self.board.url,
            archive_image_url=self.archive.url,
        )

    def poll(self, *threads: SourceThread, rejected: int = 0) -> None:
        """Let the board's catalogue be ``threads`` at ``now``, and ``rejected`` entries that can not be read."""
        with self.database.write() as connection:
            record_poll(
                connection,
                snapshot_at=self.now,
                last_modified=None,
                threads=[prepared(thread) for thread in threads],
                rejected=rejected,
                ingested_at=self.now,
            )

    def import_archived(self, *threads: SourceThread) -> None:
        with self.database.write() as connection:
            merge_threads(connection, [prepared(thread) for thread in threads], ingested_at=self.now, seen_at=None)

    def poll_unchanged(self) -> None:
        """Let the board answer at ``now`` that its catalogue is as it was."""
        with self.database.write() as connection:
            record_poll(
                connection, snapshot_at=self.now, last_modified=None, threads=None, rejected=0, ingested_at=self.now
            )

    def label(self, thread_id: int) -> None:
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO training_labels (thread_id, sentiment_rating, labeler_id, labeled_at) "
                f"VALUES ({thread_id}, 3, 'ann', TIMESTAMP '2026-03-01')"
            )

    def label_in_the_ledger(self, thread_id: int, rating: int | None = 3) -> None:
        label = Label(thread_id, rating, "ann", self.now, skipped=rating is None)
        LabelLedger(self.home / LEDGER).append([label])

    def label_by_a_model(self, thread_id: int) -> None:
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO auto_labels (thread_id, provider, model, prompt_version, status, labeled_at) "
                f"VALUES ({thread_id}, 'a', 'b', 'c', 'ok', TIMESTAMP '2026-03-01')"
            )

    def fetch(self, **changes: Any) -> FetchReport:
        """Run one pass, with other ``[images]`` settings where given."""
        settings = self.settings.model_copy(update=changes)
        return fetch_pictures(self.database, self.home, self.client(), settings, self.now)

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def rows(self, columns: str = "status", kind: str = "thumbnail") -> dict[int, Any]:
        """Return the named columns of every picture, by thread."""
        with self.database.read() as connection:
            found = connection.execute(
                f"SELECT thread_id, {columns} FROM thumbnails WHERE kind = '{kind}' ORDER BY thread_id"
            ).fetchall()
        return {row[0]: row[1] if len(row) == 2 else row[1:] for row in found}

    def files(self) -> list[Path]:
        return sorted(path for path in (self.home / "images").rglob("*") if path.is_file())

    def thread(self, number: int, content: bytes | None = None, **fields: Any) -> SourceThread:
        """A thread of the live board, with ``content`` as its thumbnail on the host."""
        thread = SourceThread(number, NOON + timedelta(seconds=number), "live", op_html="gm", reply_count=0)
        if content is not None:
            thread = replace(thread, thumbnail_url=self.board.put(f"/biz/{number:013}s.jpg", content))
        return replace(thread, **fields)


def prepared(thread: SourceThread) -> PreparedThread:
    return PreparedThread(thread, "gm", None, 0.0, ())


def stored_bytes(paths: Iterable[Path]) -> set[bytes]:
    return {path.read_bytes() for path in paths}
