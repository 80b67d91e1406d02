"""4chan's hosts on loopback: the simulated board, and a board that replays recorded answers."""

import json
import re
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bizcharts_pipeline.core.clock import naive_utc
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.demo.server import JSON, BoardServer, Fault, Page, http_date
from bizcharts_pipeline.demo.world import World

_PICTURE_PATH = re.compile(r"/([0-9]{10,19})(s?)(\.jpg|\.png)")


class SimulatedBoard(BoardServer):
    """Serves a :class:`World` as it is at :attr:`now`, a simulated time that its user advances.

    ``outages`` are pairs of simulated times between which every answer is a 503.
    """

    def __init__(self, world: World, *, now: datetime | None = None, board: str = "biz") -> None:
        super().__init__(board)
        self.world = world
        self.now: datetime = now or world.start
        self.outages: list[tuple[datetime, datetime]] = []
        self._catalog: tuple[datetime, bytes] = (datetime.min, b"")

    def outage(self) -> Fault | None:
        now = naive_utc(self.now)
        return Fault.UNAVAILABLE if any(begin <= now < end for begin, end in self.outages) else None

    def page(self, path: str, query: str) -> Page | None:
        if not path.startswith(f"/{self.board}/"):
            return None
        now = naive_utc(self.now)
        name = path.removeprefix(f"/{self.board}")
        if name in ("/catalog.json", "/threads.json", "/archive.json"):
            return Page(self._json(name, now), JSON, http_date(self.world.changed_at(now)))
        if shape := _PICTURE_PATH.fullmatch(name):
            return self._picture(int(shape[1]), thumbnail=shape[2] == "s", extension=shape[3], now=now)
        return None

    def _json(self, name: str, now: datetime) -> bytes:
        if name == "/archive.json":
            return _dumps(self.world.archived(now))
        if name == "/threads.json":
            return _dumps([_thread_list(page) for page in self.world.catalog(now)])
        if self._catalog[0] != now:
            self._catalog = (now, _dumps(self.world.catalog(now)))
        return self._catalog[1]

    def _picture(self, tim: int, *, thumbnail: bool, extension: str, now: datetime) -> Page | None:
        thread = self.world.picture_owner(tim)
        if thread is None or thread.posted_at > now:
            return None
        if thread.file_deleted_at is not None and thread.file_deleted_at <= now:
            return None
        if extension != (".jpg" if thumbnail else thread.extension):
            return None
        png = not thumbnail and extension == ".png"
        body = picture(thread, "thumbnail" if thumbnail else "PNG" if png else "JPEG")
        kind = "image/png" if png else "image/jpeg"
        return Page(body, kind, http_date(thread.posted_at), etag=f'"{tim:x}-{len(body):x}"')


class ReplayBoard(BoardServer):
    """Serves recorded catalogues in order, one per request; the last one repeats. It sends no Date header.

    Args:
        answers: pairs of a body and its Last-Modified header.
    """

    timeless = True

    def __init__(self, answers: Sequence[tuple[bytes, str | None]], *, board: str = "biz") -> None:
        super().__init__(board)
        self._answers = list(answers)
        self._served = 0
        self._order = threading.Lock()

    def page(self, path: str, query: str) -> Page | None:
        if path != f"/{self.board}/catalog.json":
            return None
        with self._order:
            body, last_modified = self._answers[min(self._served, len(self._answers) - 1)]
            self._served += 1
        return Page(body, JSON, last_modified)


def _thread_list(page: dict[str, Any]) -> dict[str, Any]:
    keys = ("no", "last_modified", "replies")
    return {
        "page": page["page"],
        "threads": [{key: thread[key] for key in keys} for thread in page["threads"]],
    }


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
