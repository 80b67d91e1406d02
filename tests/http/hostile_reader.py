"""Reads hostile answers with the real clients in a process with little memory; prints a JSON line an answer.

Run: ``python hostile_reader.py HOME URL FIRST COUNT``. The answer's number says which client reads it, half of them
the catalogue's. After every tenth a good catalogue is polled, and must be stored.
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from bizcharts_pipeline.archive import patience as asking
from bizcharts_pipeline.archive.client import Search
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.autolabel.providers.http import http_client
from bizcharts_pipeline.board.client import FourchanClient
from bizcharts_pipeline.board.ingest import poll_catalog
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.images.client import ImageClient
from bizcharts_pipeline.live import catalog_spool
from bizcharts_pipeline.models.github import GitHub
from bizcharts_pipeline.pods.providers import rest_http
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

DATA_BYTES = 2**30  # private memory; what is resident is measured beside it
SECONDS = 2.0
NOW = datetime(2026, 3, 2, 12)


class Reader:
    """The clients of one installation, each bound to answer within ``SECONDS``."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self.spool, self.database = catalog_spool(home), DatabaseFile(home / "bizcharts.duckdb", 10)
        self.polls = 0
        rest_http.SECONDS = SECONDS
        asking.PAUSES = ()  # an archive that refuses is given up at once
        os.environ["RUNPOD_API_KEY"] = "canary"

    def _session(self, number: object) -> PoliteSession:
        rate = self.home / "rate" / str(number)  # a Retry-After holds for its own answer alone
        rate.mkdir(parents=True, exist_ok=True)
        timeouts = Timeouts(connect=1, read=1, total=SECONDS)
        return PoliteSession(0, validators=self.home / "http", rate_folder=rate, timeouts=timeouts, attempts=1)

    def catalogue(self, number: object) -> str:
        url = f"{self.url}/{number}"
        with self._session(number) as session:
            client = FourchanClient(session, url, url, "biz")
            self.polls += 1
            poll_catalog(client, self.spool, self.database, NOW + timedelta(seconds=2 * self.polls))
        return "stored"

    def archive(self, number: int) -> str:
        archive = Archive(
            home=self.home,
            board="biz",
            url=f"{self.url}/{number}",
            image_url=self.url,
            seconds_per_request=0,
            contact="",
        )
        archive.client._session = archive._session = self._session(number)
        archive.page(lambda: archive.client.search(Search(), 0), "hostile")
        return "read"

    def picture_list(self, number: int) -> str:
        with self._session(number) as session:
            url = f"{self.url}/{number}"
            ImageClient(
                session, session, board="biz", api_url=url, image_url=url, archive_image_url=url
            ).archived_threads()
        return "read"

    def runpod(self, number: int) -> str:
        os.environ["RUNPOD_API_BASE_URL"] = f"{self.url}/{number}"
        return f"status {rest_http.ask('GET', '/pods').status}"

    def github(self, number: int) -> str:
        from bizcharts_pipeline.models import github

        github.CALL_SECONDS, github.ATTEMPTS = SECONDS, 1
        github.PATIENCE_SECONDS = 0.0
        GitHub(f"{self.url}/{number}", sleep=lambda seconds: None).call("GET", "/repos/a/b")
        return "read"

    def labels(self, number: int) -> str:
        import httpx2

        url = f"{self.url}/{number}"
        with http_client(url, seconds=SECONDS, wait=1, max_bytes=4 * 2**20, connections=1) as client:
            try:
                return f"status {client.get(url).status_code}"
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # what the SDKs take for a failed request
                return type(error).__name__


def main(home: Path, url: str, first: int, count: int) -> None:
    """Read the answers ``first`` to ``first + count``."""
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    reader = Reader(home, url)
    others: list[Callable[[int], str]] = [
        reader.archive,
        reader.picture_list,
        reader.runpod,
        reader.github,
        reader.labels,
    ]
    for number in range(first, first + count):
        began = time.process_time()
        rng = Random(number)
        read = reader.catalogue if rng.random() < 0.5 else rng.choice(others)
        try:
            outcome = read(number)
        except BizchartsError as error:
            outcome = "told a password" if "canary" in str(error) else type(error).__name__
        line = {
            "number": number,
            "client": read.__name__,
            "outcome": outcome,
            "cpu": round(time.process_time() - began, 2),
        }
        print(json.dumps(line), flush=True)
        if number % 10 == 9:
            print(json.dumps({"good": number, "outcome": reader.catalogue(f"good/{number}")}), flush=True)
    # Not `getrusage`: its peak is of the process that started this one where that was larger.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    with reader.database.read() as connection:
        stored = connection.execute("SELECT list(thread_id) FROM thread_ops WHERE op_text LIKE 'gm %'").fetchone()
    print(json.dumps({"peak": peak, "stored": stored[0] if stored else []}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
