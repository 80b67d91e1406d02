"""An installation whose board is to be labelled by models: posts, some with pictures, and the label APIs."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from forked import ForkedProcess, run_script
from installation import REPOSITORY, Installation

from bizcharts_pipeline.autolabel.ledger import LEDGER
from bizcharts_pipeline.autolabel.questions import question_text
from bizcharts_pipeline.core.ledgers import connect, is_known
from bizcharts_pipeline.core.money import NANO
from bizcharts_pipeline.demo.board.threads import WorldThread
from bizcharts_pipeline.demo.label_apis.oracle import marked_post, world_truth
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.demo.server import RequestRecord
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.labels.corpus import load_posts
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.threads import merge_threads

START = datetime(2026, 3, 2)
NOW = datetime(2026, 3, 12)
WORLD = World(11, START, 9)
PICTURE_EVERY = 20
RUN_SECONDS = 300
WORKER = REPOSITORY / "tests" / "autolabel" / "label_worker.py"
MAX_RUNS = 40  # of batches, whose every call may meet a fault


def some_threads(posts: int) -> list[WorldThread]:
    """The first ``posts`` threads of the world."""
    return WORLD.threads_between(START, NOW)[:posts]


def fill(installation: Installation, posts: int) -> None:
    """Put the first ``posts`` threads of the world into the installation's database, every twentieth with a picture."""
    threads = some_threads(posts)
    installation.home.mkdir(parents=True, exist_ok=True)
    installation.database.migrate()
    prepared = [read_thread(WORLD.as_archive(thread)) for thread in threads]
    store = PictureStore(installation.home)
    rows = []
    for thread in threads[::PICTURE_EVERY]:
        content = picture(thread, "thumbnail")
        sha256 = hashlib.sha256(content).hexdigest()
        path = store.put(sha256, "image/jpeg", content)
        rows.append(
            PictureRow(
                *(thread.thread_id, "thumbnail", "stored", NOW),
                **{"path": path, "sha256": sha256, "media_type": "image/jpeg", "nsfw": 0.01},
            )
        )
    with installation.database.write() as connection:
        merge_threads(connection, prepared, ingested_at=NOW, seen_at=None)
        for row in rows:
            record_picture(connection, row)


TRUTH = world_truth(WORLD, START, NOW)


@dataclass(frozen=True)
class Books:
    """What a ledger of paid answers has booked: requests by how their cost is known, and USD."""

    known: int  # the service told the cost
    unseen: int  # nobody saw the end; the process lived
    orphaned: int  # under way when their process was killed, or in a batch that was never seen again
    failed: int  # ended by an error of the gateway, which may have come after the work
    open: int  # not settled yet
    known_usd: Decimal
    usd: Decimal  # of all of them
    usd_of_runs: dict[str, Decimal]

    @classmethod
    def of(cls, home: Path, ledger: Path = LEDGER) -> "Books":
        with closing(connect(home / ledger)) as connection:
            rows = connection.execute(
                "SELECT r.run_id, s.basis, s.outcome, coalesce(s.nano_usd, r.nano_usd) "
                "FROM reservations AS r LEFT JOIN settlements AS s ON s.reservation = r.id"
            ).fetchall()
        kinds: Counter[str] = Counter()
        usd: Counter[str] = Counter()
        runs: Counter[str] = Counter()
        for run, basis, outcome, nano in rows:
            lost = outcome == "orphaned" or (outcome == "abandoned" and basis == "assumed")
            failed = outcome == "transient" and basis == "assumed"
            kind = "open" if basis is None else "orphaned" if lost else "failed" if failed else basis
            kinds[kind] += 1
            usd[kind] += nano
            runs[run] += nano
        return cls(
            kinds["known"],
            kinds["assumed"],
            kinds["orphaned"],
            kinds["failed"],
            kinds["open"],
            Decimal(usd["known"]) / NANO,
            Decimal(usd.total()) / NANO,
            {run: Decimal(nano) / NANO for run, nano in runs.items()},
        )


@dataclass
class Labelling:
    """An installation of ``posts`` posts that is labelled by one provider, run by run, each in a process.

    Each by the job `labelling`, as its users run it; without ``dagster`` by the asset's domain alone, which is faster.
    The clock of each run is an hour after the last.
    """

    installation: Installation
    apis: SimulatedLabelApis
    provider: str
    endpoint: str
    posts: int
    dagster: bool = False
    usd_per_run: Decimal = Decimal(5)
    runs: int = 0
    model: str = ""  # the default if empty
    prices: str = ""  # JSON, as the setting

    def __post_init__(self) -> None:
        fill(self.installation, self.posts)
        section = self.provider.upper()
        self.installation.extra |= {
            "OPENAI_BASE_URL": self.apis.openai_url,
            "GOOGLE_GEMINI_BASE_URL": self.apis.gemini_url,
            "BIZCHARTS_AUTO_LABELS__PROVIDERS": self.provider,
            "BIZCHARTS_AUTO_LABELS__TIMEOUT_SECONDS": "1.5",
            "BIZCHARTS_AUTO_LABELS__PER_RUN": "100000",
            "BIZCHARTS_FEAR_GREED__SPAM_CUT": "1",
            f"BIZCHARTS_{section}__ENDPOINT": self.endpoint,
            f"BIZCHARTS_{section}__REQUESTS_PER_MINUTE": "100000",
            f"BIZCHARTS_{section}__REQUESTS_PER_DAY": "1000000",
        }
        if self.endpoint == "decisions":
            self.installation.extra["BIZCHARTS_OPENAI__MODEL"] = "gpt-6-luna"
        if self.model:
            self.installation.extra[f"BIZCHARTS_{section}__MODEL"] = self.model
        if self.prices:
            self.installation.extra[f"BIZCHARTS_{section}__PRICES"] = self.prices

    @property
    def books(self) -> Books:
        return Books.of(self.installation.home)

    @property
    def statuses(self) -> dict[str, int]:
        """Posts by their status in the table ``auto_labels``."""
        return dict(self.installation.query("SELECT status, count(*) FROM auto_labels GROUP BY 1"))

    def start(self, usd: Decimal | None = None) -> ForkedProcess:
        """Start a run that may cost ``usd``."""
        self.installation.extra["BIZCHARTS_AUTO_LABELS__USD_PER_RUN"] = str(usd or self.usd_per_run)
        now = NOW + self.runs * timedelta(hours=1)
        self.runs += 1
        if self.dagster:
            return self.installation.start_job("labelling", now)
        environment = self.installation.environment(now)
        return ForkedProcess(run_script, [str(WORKER)], folder=REPOSITORY, environment=environment, merged=True)

    def run(self, usd: Decimal | None = None, *, may_fail: bool = False) -> str:
        """Run to the end, which may not cost more than it was allowed; return what was printed."""
        known = self.books.usd_of_runs if is_known(self.installation.home / LEDGER) else {}
        process = self.start(usd)
        output, _ = process.communicate(timeout=RUN_SECONDS)
        assert may_fail or process.returncode == 0, output
        cost = sum((spent for run, spent in self.books.usd_of_runs.items() if run not in known), Decimal(0))
        assert cost <= (usd or self.usd_per_run), output
        return output

    def kill(self, when: Callable[[list[RequestRecord]], bool]) -> None:
        """Run, and kill -9 as soon as ``when`` holds for what the run has sent; a run that ends before is repeated."""
        for _ in range(MAX_RUNS):
            before, process = len(self.sent), self.start()
            while process.poll() is None:
                if when(self.sent[before:]):
                    process.kill()
                    process.communicate()
                    return
                time.sleep(0.002)
            output, _ = process.communicate()
        raise AssertionError(f"never to be killed: {output}")

    def run_until_done(self, *, may_fail: bool = False) -> int:
        """Run again and again until a run sends nothing and nothing is pending; return how many runs that took."""
        for runs in range(1, MAX_RUNS + 1):
            before = len(self.sent)
            self.run(may_fail=may_fail)
            if (
                len(self.sent) == before
                and sum(self.statuses.values()) == self.posts
                and "pending" not in self.statuses
            ):
                return runs
        raise AssertionError((self.statuses, self.apis.bill()))

    @property
    def sent(self) -> list[RequestRecord]:
        """All that was ever asked of the services."""
        return self.apis.requests

    def wrong_labels(self) -> list[tuple[Any, ...]]:
        """The labels that are none of what the model, which knows the truth, has answered to the post."""
        with self.installation.database.read() as connection:
            posts = load_posts(connection, [thread.thread_id for thread in some_threads(self.posts)])
            labels = dict(connection.execute("SELECT thread_id, label FROM auto_labels").fetchall())
        said = {post.thread_id: TRUTH(marked_post(question_text(post.subject, post.text))[0]) for post in posts}
        return [(thread, label, said[thread]) for thread, label in labels.items() if label not in (None, said[thread])]
