"""Whether another training is worth it. It is proposed, with its cost, and nothing here starts one.

There are two trainings: of the models that train on this machine, and of the vision model, for which a pod is rented.
Each is compared with the newest model that it made. It is due if people have labelled enough posts since, or fewer
while a drift alarm stands. Without new labels a training gives the same models again, so then a drift alarm asks for
labels instead. A training that never ran is not proposed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import ceil
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.corpus import load_posts
from bizcharts_pipeline.labels.near_duplicates import contaminated
from bizcharts_pipeline.scoring.champion import VISION_KINDS
from bizcharts_pipeline.sentiment.artifact import training_posts
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.drift_reports import standing_alarm
from bizcharts_pipeline.warehouse.labelled import stored_gold
from bizcharts_pipeline.warehouse.labels import learnable_posts
from bizcharts_pipeline.warehouse.models import CANDIDATE, CHAMPION, ModelVersion, models

SHARE_UNDER_ALARM = 0.25  # of the labels that are needed otherwise
TEXT, VISION = "text", "vision"


@dataclass(frozen=True)
class Terms:
    """The settings that it depends on."""

    retrain_after: int
    text_only: bool  # the vision model also learns from posts without a picture
    text_on_pod: bool
    usd_per_run: Decimal

    @classmethod
    def of(cls, settings: Settings) -> "Terms":
        """Return the terms of ``settings`` on which the proposal to train a model again depends."""
        return cls(
            settings.ml.continual.retrain_after,
            settings.labelling.text_only,
            settings.ml.training.text_on_pod,
            settings.pods.usd_per_run,
        )


@dataclass(frozen=True)
class Retraining:
    """What speaks for training again."""

    track: str  # TEXT or VISION
    newest: str  # the newest model that this training made
    new_labels: int  # posts that people labelled and that model has not seen; gold is left out
    drift_since: date | None  # of a standing alarm; None: there is none
    due: bool
    rents: bool  # whether a pod is rented for it
    usd: Decimal | None  # cost of the last one; None: unknown
    most_usd: Decimal  # limit of a run

    @property
    def command(self) -> str:
        """The command that starts training the model again."""
        return (
            "bizcharts run labelling && bizcharts run training_qlora"
            if self.track == VISION
            else "bizcharts run training"
        )

    @property
    def cost(self) -> str:
        """What training the model again costs, in words."""
        if not self.rents:
            return "It runs on this machine and costs nothing"
        last = f"the last one cost {self.usd:.2f} USD; " if self.usd is not None else ""
        return f"It rents a pod: {last}a run may cost at most {self.most_usd:.2f} USD"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The proposal to train the model again, in words; empty if there is nothing to propose."""
        since = f", and a drift alarm stands since {self.drift_since}" if self.drift_since else ""
        model = "text models" if self.track == TEXT else "vision model"
        posts = f"{counted(self.new_labels, 'labelled post')} that {self.newest} has not learned from"
        if self.due:
            return (
                f"Training the {model} again is due: {posts}{since}.",
                f"{self.cost}: `{self.command}`.",
            )
        if self.drift_since:
            return (
                f"A drift alarm stands since {self.drift_since}, and {posts} "
                f"{'is' if self.new_labels == 1 else 'are'} too few to train again.",
                "Label recent posts first: `make label`.",
            )
        return ()


def retrainings(connection: duckdb.DuckDBPyConnection, home: Path, terms: Terms) -> tuple[Retraining, ...]:
    """Return what speaks for training a model again, for each training that ran before."""
    alarm = standing_alarm(connection)
    since = date.fromisoformat(str(alarm.details["since"])) if alarm else None
    rows = models(connection)
    found = []
    for track in (TEXT, VISION):
        newest = _newest(rows, track)
        seen = _seen(home, newest) if newest else None
        if newest is None or seen is None:
            continue
        by_picture, by_text = track == VISION, track == TEXT or terms.text_only
        needed = ceil(terms.retrain_after * (SHARE_UNDER_ALARM if since else 1))
        new = learnable_posts(connection, by_text=by_text, by_picture=by_picture) - seen
        if len(new) >= needed:
            new = _without_copies(connection, new, needed)
        found.append(
            Retraining(
                track,
                newest.model_version,
                len(new),
                since,
                due=len(new) >= needed,
                rents=track == VISION or terms.text_on_pod,
                usd=newest.usd,
                most_usd=terms.usd_per_run,
            )
        )
    return tuple(found)


def _without_copies(connection: duckdb.DuckDBPyConnection, threads: set[int], enough: int) -> set[int]:
    """Return ``threads`` without the near-duplicates of gold, which no training uses.

    Once ``enough`` are none, the rest is not compared: it takes milliseconds each, and is asked every minute.
    """
    gold = load_posts(connection, {thread_id for thread_id, *_ in stored_gold(connection)})
    left, found = sorted(threads), set[int]()
    while left and len(found) < enough:
        some, left = left[:enough], left[enough:]
        found |= set(some) - contaminated(load_posts(connection, some), gold)
    return found | set(left)


def _newest(rows: Sequence[ModelVersion], track: str) -> ModelVersion | None:
    of_track = [
        row
        for row in rows
        if row.path and row.status in (CANDIDATE, CHAMPION) and (row.kind in VISION_KINDS) == (track == VISION)
    ]
    return max(of_track, key=lambda row: (str(row.trained_at), row.model_version), default=None)


def _seen(home: Path, row: ModelVersion) -> set[int] | None:
    """Return the labelled threads that a model was trained on; ``None`` if its list cannot be read."""
    try:
        rows = training_posts(home / str(row.path))
        return {int(each["thread_id"]) for each in rows if not each.get("pseudo")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
