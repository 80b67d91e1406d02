"""An installation with posts, and a deterministic provider with faults that keeps books of its own."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

from bizcharts_pipeline.autolabel.batches import BatchReport
from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
from bizcharts_pipeline.autolabel.protocol import (
    Answer,
    BatchState,
    Endpoint,
    Outcome,
    Prompt,
    Question,
    Usage,
)
from bizcharts_pipeline.autolabel.report import Report
from bizcharts_pipeline.autolabel.run import Labelling
from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 3, 1, 12)
HALF = (Decimal("0.15") * 900 + Decimal("0.60") * 8) / 2_000_000  # USD that `OK` costs in a batch
OK = Answer(
    Outcome.OK, '{"label":"bullish"}', "bullish", (0.1, 0.1, 0.8), "logprobs", Usage(900, 8), "gpt-4o-mini-2024-07-18"
)
Say = Callable[[Question, int], Answer]  # the question, and how often it came so far


def always_ok(question: Question, times: int) -> Answer:
    return OK


@dataclass
class FakeProvider:
    """Answers as ``say`` tells. ``billed`` is what its owner would charge, in requests by question key."""

    say: Say = always_ok
    name: str = "openai"
    model: str = "m"
    endpoint: Endpoint = "chat"
    seconds: float = 0.0
    asked: list[Question] = field(default_factory=list)
    billed: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        self._inside = 0

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        with self._lock:
            times = self._times[question.key]
            self._times[question.key] += 1
            self.asked.append(question)
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
        if self.seconds:
            time.sleep(self.seconds)
        answer = self.say(question, times)
        with self._lock:
            self._inside -= 1
            if answer.usage or answer.outcome is Outcome.TIMEOUT:
                self.billed[question.key] += 1
        return answer

    def close(self) -> None: ...


@dataclass
class FakeBatches:
    """A batch service. ``largest`` refuses more at once; what is to ``expire`` has no answer and costs nothing."""

    say: Say = always_ok
    name: str = "openai"
    model: str = "m"
    endpoint: Endpoint = "batch"
    largest: int = 10_000
    max_batch_bytes: int = 10**9
    state_of_all: BatchState = BatchState.ENDED
    expire: Callable[[Question], bool] = lambda question: False
    die_after_create: bool = False
    why: str = ""
    batches: dict[str, list[Question]] = field(default_factory=dict)  # by run key
    results: dict[str, list[Question]] = field(default_factory=dict)  # likewise
    billed: Counter[str] = field(default_factory=Counter)

    def submit(self, run_key: str, prompt: Prompt, questions: Sequence[Question]) -> str:
        if len(questions) > self.largest:
            raise BatchError("too big", BatchState.OVERSIZED)
        self.batches[run_key] = list(questions)
        self.results[run_key] = [question for question in questions if not self.expire(question)]
        self.billed.update(question.key for question in self.results[run_key])
        if self.die_after_create:
            raise KeyboardInterrupt
        return f"batch-{run_key}"

    def find(self, run_key: str) -> str | None:
        return f"batch-{run_key}" if run_key in self.batches else None

    def state(self, batch_id: str) -> BatchState:
        run_key = batch_id.removeprefix("batch-")
        if self.state_of_all is BatchState.ENDED and len(self.results[run_key]) < len(self.batches[run_key]):
            return BatchState.EXPIRED
        return self.state_of_all

    def reason(self, batch_id: str) -> str:
        return self.why

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        for question in reversed(self.results[batch_id.removeprefix("batch-")]):
            yield question.key, self.say(question, 0)
        yield "unknown", OK

    def answered(self, batch_id: str) -> int:
        return len(self.results[batch_id.removeprefix("batch-")])

    def close(self) -> None: ...


def thread(thread_id: int, text: str | None = None, **fields: Any) -> PreparedThread:
    spam = fields.pop("spam", 0.0)
    posted_at = NOON - timedelta(minutes=thread_id % 1000)
    text = f"post {thread_id} about coins" if text is None else text
    source = SourceThread(thread_id=thread_id, posted_at=posted_at, source="live", op_html=text, **fields)
    return PreparedThread(source, text, None, spam, ())


@dataclass
class LabelWorld:
    """A home with posts."""

    home: Path
    now: datetime = NOON

    @property
    def database(self) -> DatabaseFile:
        self.home.mkdir(parents=True, exist_ok=True)
        return DatabaseFile(self.home / "bizcharts.duckdb")

    def settings(self, **auto_labels: Any) -> Settings:
        limits = {"requests_per_minute": 1_000_000, "requests_per_day": 1_000_000}
        return Settings.model_validate(
            {
                "home": self.home,
                "auto_labels": {"timeout_seconds": 1, **auto_labels.pop("labels", {})},
                "openai": {**limits, **auto_labels.pop("openai", {})},
                "gemini": {**limits, **auto_labels.pop("gemini", {})},
                **auto_labels,
            }
        )

    def put(self, *threads: PreparedThread) -> None:
        with self.database.write() as connection:
            merge_threads(connection, threads, ingested_at=self.now, seen_at=self.now)

    def picture(self, thread_id: int, content: bytes, sha256: str, *, nsfw: float | None = 0.0) -> None:
        """Give a thread a stored thumbnail."""
        path = self.home / "images" / f"{sha256}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        row = PictureRow(
            thread_id, "thumbnail", "stored", self.now, path=f"images/{sha256}.jpg", sha256=sha256, nsfw=nsfw
        )
        with self.database.write() as connection:
            record_picture(connection, row)

    def labelling(self, *providers: Any, settings: Settings | None = None) -> Labelling:
        by_name = {provider.name: provider for provider in providers}
        return Labelling(self.database, self.home, settings or self.settings(), by_name, lambda: self.now)

    def label(self, *providers: Any, **settings: Any) -> Report:
        settings["labels"] = {"providers": [provider.name for provider in providers], **settings.get("labels", {})}
        return self.labelling(*providers, settings=self.settings(**settings)).label_posts()

    def ledger(self) -> AutoLabelLedger:
        return AutoLabelLedger(self.home / LEDGER)

    def rows(self, columns: str = "thread_id, status") -> list[Any]:
        with self.database.read() as connection:
            return connection.execute(f"SELECT {columns} FROM auto_labels ORDER BY ALL").fetchall()


def cost(requests: int) -> Decimal:
    """What so many of ``OK`` cost at the default price of OpenAI."""
    return requests * (Decimal("0.15") * 900 + Decimal("0.60") * 8) / 1_000_000


def jpeg(colour: str = "green") -> bytes:
    """Return a picture that is larger than what is sent."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (700, 350), colour).save(file, "JPEG")
    return file.getvalue()


def statuses(world: LabelWorld) -> dict[int, str]:
    """Return the status of each post, of one version."""
    return dict(world.rows())


def status_counts(world: LabelWorld) -> Counter[str]:
    """Return the number of posts by status, over all versions."""
    return Counter(status for (status,) in world.rows("status"))


def batches(report: Report) -> BatchReport:
    """Return what a run of one provider did about batches."""
    (provider,) = report.providers
    assert provider.batches is not None
    return provider.batches
