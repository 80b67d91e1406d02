"""A simulated board, and text models that score it the same way each time: one tiny encoder, each seed another head."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from index_world import QUICK, START, new_database, random_posts, store_posts
from tiny_encoder import SIZE, tiny_encoder

from bizcharts_pipeline.live import bring_indexes_up_to_date
from bizcharts_pipeline.models.evaluate import EvaluationReport
from bizcharts_pipeline.models.gate import Judgement
from bizcharts_pipeline.models.paired import compare
from bizcharts_pipeline.models.promotion import decide
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_for_publication, score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.artifact import new_model, publish
from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.settings import VisionSettings
from bizcharts_pipeline.warehouse.as_of import newest_readings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_evaluations import Decision
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, promote, register_candidate
from bizcharts_pipeline.warehouse.published import Reading

DAYS, PER_DAY = 9, 60
NOW = START + timedelta(days=DAYS, minutes=-25)
WORDS = ("moon", "rekt", "over", "back", "buy", "sell", "wagmi", "ngmi", "hold", "crab", "pump", "dump")


@dataclass(frozen=True)
class SwitchWorld:
    """An installation whose champion has scored the board, and a candidate."""

    database: Database
    home: Path
    old: str  # model versions
    new: str
    vision: VisionSettings = field(default_factory=VisionSettings)

    @property
    def place(self) -> Place:
        """Where models run."""
        return Place(self.home, self.vision)

    @classmethod
    def made(cls, home: Path) -> "SwitchWorld":
        database = new_database(home)
        draw = np.random.default_rng(3)
        made = [replace(post, text=" ".join(draw.choice(WORDS, 5))) for post in random_posts(8, DAYS, PER_DAY)]
        store_posts(database, made)
        versions = [published_model(home, seed) for seed in (1, 2)]
        with database.write() as connection:
            promote(connection, versions[0])
            register_candidate(connection, versions[1])
            promote(connection, versions[0])
        world = cls(database, home, versions[0].model_version, versions[1].model_version)
        world.score()
        world.index()
        return world

    def score(self, limit: int | None = None, now: datetime = NOW) -> int:
        """Score as a run does; return how many posts the champion has scored."""
        scorer = champion_scorer(self.database, self.place, now)
        report = score_new_posts(self.database, scorer, limit=limit, now=now)
        if limit is not None:
            score_for_publication(self.database, self.place, report, limit=limit, now=now)
        return report.scored

    def index(self, now: datetime = NOW, *, everything: bool = False) -> Reading:
        """Update the index as a run does; return the newest reading."""
        scorer = champion_scorer(self.database, self.place, now)
        bring_indexes_up_to_date(self.database, scorer, now, QUICK, everything=everything)
        return self.reading()

    def reading(self, as_of: datetime | None = None, before: datetime | None = None) -> Reading:
        """The newest hour that begins before a moment, as of another one."""
        with self.database.read() as connection:
            (found,) = newest_readings(connection, "hour", 1, as_of, before)
        return found

    def champion(self) -> str:
        with self.database.read() as connection:
            found = champion(connection)
        assert found
        return found.model_version

    def report(self) -> EvaluationReport:
        """What an evaluation says that the candidate has won."""
        right, wrong = Score(0.8, 0.1, 0.1), Score(0.1, 0.1, 0.8)
        compared = {self.old: compare([right] * 4, [wrong] * 4, [0] * 4, [1, 2, 3, 4], 1)}
        return EvaluationReport("gold", self.old, (Judgement(self.new, True, "better", compared),), (), (), ())

    def decide(self, confirm_above: float = 100, now: datetime = NOW) -> Decision:
        (decision,) = decide(
            self.database, self.place, self.report(), {}, parameters=QUICK, confirm_above=confirm_above, now=now
        )
        return decision


def published_model(home: Path, seed: int) -> ModelVersion:
    """The files of a model, and its row."""
    head = np.random.default_rng(seed).standard_normal((3, SIZE))
    with new_model(home) as folder:
        EncoderModel(tiny_encoder(), head, np.zeros(3)).save(folder)
        write_temperature(folder, 1.0)
        artifact = publish(folder, home, kind="minilm", base_model=None, base_revision=None, dataset_version="d",
                           code_version="1", seed=seed, settings={})  # fmt: skip
    name = artifact.model_version
    return ModelVersion(name, "minilm", None, "d", START, None, None, "candidate", f"models/{name}", artifact.sha256)
