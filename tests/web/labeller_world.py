"""A database of simulated posts with pictures, and the labeller as a process of its own."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page

from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.settings import REPOSITORY_ROOT
from bizcharts_pipeline.text.html import html_to_text
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.values import literal, table

START = datetime(2026, 1, 5)

_SERVER = """
import sys
import time
import datetime
from bizcharts_pipeline.labels.offers import OfferFilters
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.web.serve import serve_labeller
settings = load_settings(home=sys.argv[1], database_wait_seconds=20, labelling={labelling})
serve_labeller(settings, OfferFilters(**{filters}), 0, say=lambda text: print(text, flush=True))
"""


@dataclass(frozen=True)
class Home:
    """The home of one installation."""

    path: Path

    @property
    def database(self) -> DatabaseFile:
        return DatabaseFile(self.path / "bizcharts.duckdb", 20)

    @property
    def ledger(self) -> LabelLedger:
        return LabelLedger(self.path / LEDGER)

    def add_posts(self, rows: list[dict[str, Any]]) -> None:
        """Write opening posts; what a row lacks is filled in."""
        columns = {
            "thread_id": "BIGINT",
            "posted_at": "TIMESTAMP",
            "subject": "VARCHAR",
            "op_text_clean": "VARCHAR",
            "image_url": "VARCHAR",
            "image_md5": "VARCHAR",
            "source": "VARCHAR",
        }
        with self.database.write() as connection:
            connection.execute(
                f"INSERT INTO thread_ops BY NAME SELECT *, {literal(START)} AS ingested_at, {literal(START)} AS "
                f"text_known_at FROM {table(rows, columns)}"
            )

    def add_pictures(self, contents: dict[int, bytes], *, nsfw: float | None = 0.01) -> list[Path]:
        """Store a JPEG thumbnail for each thread; return the files."""
        files = []
        with self.database.write() as connection:
            for thread_id, content in contents.items():
                sha256 = hashlib.sha256(content).hexdigest()
                path = PictureStore(self.path).put(sha256, "image/jpeg", content)
                stored = {"path": path, "sha256": sha256, "media_type": "image/jpeg", "nsfw": nsfw, "attempts": 1}
                record_picture(connection, PictureRow(thread_id, "thumbnail", "stored", START, **stored))
                files.append(self.path / path)
        return files


def fill(home: Home, posts: int, pictures: int) -> list[int]:
    """Write simulated posts, the first of them with pictures; return the threads."""
    days = posts // 280 + 1
    world = World(11, START, days)
    threads = world.threads_between(START, START + timedelta(days=days))[:posts]
    home.add_posts(
        [
            {
                "thread_id": thread.thread_id,
                "posted_at": thread.posted_at.isoformat(),
                "subject": thread.subject_text,
                "op_text_clean": html_to_text(thread.html),
                "image_url": f"https://i.4cdn.org/biz/{thread.tim}.jpg" if place < pictures else None,
                "image_md5": f"{thread.thread_id:022}==" if place < pictures else None,
                "source": "live" if place % 2 else "warosu",
            }
            for place, thread in enumerate(threads)
        ]
    )
    home.add_pictures({thread.thread_id: picture(thread, "thumbnail") for thread in threads[:pictures]})
    return [thread.thread_id for thread in threads]


def drawn(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a JPEG of one colour."""
    file = BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "JPEG")
    return file.getvalue()


class Labeller:
    """The labeller's process; ``address`` admits a browser."""

    def __init__(self, home: Path, filters: dict[str, Any], labelling: dict[str, Any]) -> None:
        filters = {"labeller": "ann", "session": "test"} | filters
        program = _SERVER.format(filters=repr(filters), labelling=repr(labelling))
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(home)],
            cwd=REPOSITORY_ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout
        lines = iter(self.process.stdout.readline, "")
        self.address = next(lines).strip()

    @property
    def origin(self) -> str:
        return self.address.split("/?")[0]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def labeller(home: Path, labelling: dict[str, Any] | None = None, **filters: Any) -> Iterator[Labeller]:
    """Run the labeller; it is killed at the end, whatever it does."""
    server = Labeller(home, filters, labelling or {})
    try:
        yield server
    finally:
        server.end()


def ready(page: Page) -> int:
    """Wait until the page takes a label; return the thread on the screen."""
    page.wait_for_selector('body[data-state="ready"]')
    return int(page.get_attribute("body", "data-thread") or 0)


def press(page: Page, *keys: str) -> int:
    """Press keys, the last of which labels or takes back; return the next thread on the screen."""
    before = ready(page)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector(f'body:not([data-thread="{before}"])')
    return ready(page)


@contextmanager
def held(database: DatabaseFile) -> Iterator[None]:
    """Let another process hold the database, as a shell that was left open does."""
    program = "import duckdb, sys; shell = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that happens beside."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
