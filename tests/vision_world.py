"""An installation whose champion is a vision model on a server: posts with pictures in every state, and the server."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from labelling_world import Books

from bizcharts_pipeline.autolabel.protocol import Price
from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import ScoringReport, score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.artifact import new_model, publish
from bizcharts_pipeline.settings import ImageSettings, VisionSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import ModelVersion, promote
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 1, 2, 12)
SHIFT, TEMPERATURE = (0.4, -0.7, 0.3), 1.7
KIND = "qlora"


@dataclass
class VisionWorld:
    """A home, its database, and the server; ``usd_per_day`` and the price may be changed between passes."""

    home: Path
    server: SimulatedLabelApis
    usd_per_day: Decimal = Decimal(5)
    price: Decimal = Decimal(0)  # USD per million tokens, in and out
    timeout_seconds: float = 2
    seconds: float | None = 5
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.database = DatabaseFile(self.home / "bizcharts.duckdb", 30)
        self.version = make_vision_champion(self.database, self.home)
        self.server.openai.adapters.add(self.version)

    def charge(self, usd_per_million_tokens: Decimal) -> None:
        """Let the server bill this for its tokens, and the settings say so."""
        self.price = usd_per_million_tokens
        self.server.books.prices[self.version] = Price(self.price, self.price)

    @property
    def place(self) -> Place:
        """Where the models run."""
        vision = VisionSettings(
            endpoint=self.server.openai_url,
            usd_per_million_input_tokens=self.price,
            usd_per_million_output_tokens=self.price,
            usd_per_day=self.usd_per_day,
            timeout_seconds=self.timeout_seconds,
        )
        return Place(self.home, vision, ImageSettings(), self.seconds)

    def score(self, limit: int | None = 500, now: datetime = NOON) -> ScoringReport:
        """One pass."""
        return score_new_posts(self.database, champion_scorer(self.database, self.place, now), limit=limit, now=now)

    def environment(self, now: datetime) -> dict[str, str]:
        """The environment of a process of this installation."""
        return os.environ | {"BIZCHARTS_HOME": str(self.home), "BIZCHARTS_NOW": now.isoformat()}

    @property
    def fallback(self) -> str:
        """The method of posts that the lexicon scored instead."""
        return f"lexicon (fallback for {self.version})"

    @property
    def methods(self) -> dict[int, str]:
        """How each post was scored."""
        with self.database.read() as connection:
            return dict(connection.execute("SELECT thread_id, method FROM scored_posts").fetchall())

    @property
    def waiting(self) -> dict[int, str]:
        """What the posts wait for."""
        with self.database.read() as connection:
            sql = "SELECT thread_id, waits_for FROM scored_posts WHERE waits_for IS NOT NULL"
            return dict(connection.execute(sql).fetchall())

    def counted(self) -> Counter[tuple[str, str | None]]:
        """The posts by method and what they wait for."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT method, waits_for FROM scored_posts").fetchall()
        return Counter(rows)

    def scores(self) -> dict[int, tuple[float, float, float]]:
        """The probabilities of each post."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT thread_id, p_bearish, p_neutral, p_bullish FROM scored_posts").fetchall()
        return {thread_id: tuple(p) for thread_id, *p in rows}

    @property
    def books(self) -> Books:
        """What the ledger of scores has booked."""
        return Books.of(self.home, Path("ledgers") / "scores.sqlite")


def make_vision_champion(database: DatabaseFile, home: Path) -> str:
    """Register an adapter as the champion; return its version."""
    made = vision_model(home)
    with database.write() as connection:
        promote(connection, replace(made, status="champion"))
    return made.model_version


def vision_model(home: Path, seed: int = 1) -> ModelVersion:
    """Make the files of an adapter; return its row. Its weights are on the server."""
    with new_model(home) as folder:
        calibration = {"labels": ["bearish", "neutral", "bullish"], "shift": SHIFT, "temperature": TEMPERATURE}
        (folder / "calibration.json").write_text(json.dumps(calibration))
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        artifact = publish(folder, home, kind=KIND, base_model="b", base_revision=None, dataset_version="d",
                           code_version="1", seed=seed, settings={})  # fmt: skip
    name = artifact.model_version
    return ModelVersion(name, KIND, "b", "d", NOON, 0.6, 0.6, "candidate", f"models/{name}", artifact.sha256)


def calibrated(probabilities: Sequence[float]) -> tuple[float, ...]:
    """The probabilities after the adapter's calibration, by its definition."""
    logits = [(math.log(p) + shift) / TEMPERATURE for p, shift in zip(probabilities, SHIFT, strict=True)]
    total = sum(math.exp(each) for each in logits)
    return tuple(math.exp(each) / total for each in logits)


def post(database: DatabaseFile, texts: Mapping[int, str], *, with_picture: bool = False) -> None:
    """Put posts of a live poll into the warehouse."""
    threads = [
        PreparedThread(
            SourceThread(n, NOON, "live", op_html=text, thumbnail_url=f"https://x/{n}s.jpg" if with_picture else None,
                         image_url=f"https://x/{n}.jpg" if with_picture else None),
            text, None, 0.0, ())
        for n, text in texts.items()
    ]  # fmt: skip
    with database.write() as connection:
        merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)


def fetch(
    home: Path, database: DatabaseFile, thread_id: int, status: str, content: bytes = b"", nsfw: float = 0.01
) -> None:
    """Record what became of a post's thumbnail."""
    row = thumbnail(home, thread_id, status, content, nsfw)
    with database.write() as connection:
        record_picture(connection, row)


def thumbnail(home: Path, thread_id: int, status: str, content: bytes = b"", nsfw: float = 0.01) -> PictureRow:
    """The row of a post's thumbnail, whose file is stored if there is one."""
    if status != "stored":
        return PictureRow(thread_id, "thumbnail", status, NOON)
    sha256 = hashlib.sha256(content).hexdigest()
    path = PictureStore(home).put(sha256, "image/jpeg", content)
    return PictureRow(thread_id, "thumbnail", status, NOON, path=path, sha256=sha256, media_type="image/jpeg",
                      perceptual_hash=sha256[:16], nsfw=nsfw)  # fmt: skip


def serving(truth: object = None) -> SimulatedLabelApis:
    """A server whose model is right by ``truth``."""
    return SimulatedLabelApis(Oracle(truth, accuracy=0.9))  # type: ignore[arg-type]
