"""Continued training of the vision model: from the champion's adapter, on new posts and a replay of old ones.

New are the rows of the data set that the champion was not trained on, or with another label. All of them are shown, and
of its old rows as many as the replay buffer chooses (:mod:`.replay`). For choosing the checkpoint there are the
validation rows that did not train the champion.

The result has learned from everything that its parent had learned from, so it inherits the parent's list of training
posts, each with the time by which it was chosen: gold that was frozen later is no leak, but does not judge the model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.files import link, read_regular, write_atomically
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment.artifact import read_artifact, training_posts
from bizcharts_pipeline.settings import ContinualSettings
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.replay import OldPost, replay
from bizcharts_pipeline.training.text_set import NothingToLearn
from bizcharts_pipeline.warehouse.models import ModelVersion

# An adapter of other settings has other weights.
SHAPE = ("quantise", "rank", "alpha", "dropout", "targets", "freeze_vision")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
PARENT = "parent"  # folder of the staged data


@dataclass(frozen=True)
class Continued:
    """What a continued training shows, and what its parent was trained on."""

    parent: ModelVersion
    files: Mapping[str, bytes]  # of the part of the data set
    images: tuple[str, ...]
    new: int  # rows to train on
    replayed: int
    inherited: tuple[Mapping[str, Any], ...]  # rows of the parent's list that are not among the part's

    def stage(self, dataset: Path, home: Path, data: Path) -> None:
        """Write the part of the data set that the continued training shows, and the parent's adapter, into ``data``."""
        target, adapter = data / "dataset", data / PARENT
        (target / sharegpt.IMAGES).mkdir(parents=True)
        adapter.mkdir()
        for name, content in self.files.items():
            write_atomically(target / name, content)
        for name in self.images:
            link(dataset / name, target / name)
        for name in ADAPTER_FILES:
            link(home / str(self.parent.path) / name, adapter / name)


def can_continue(parent: ModelVersion, base: str, spec: Mapping[str, Any]) -> bool:
    """Whether the training that ``spec`` orders can continue from the adapter ``parent``: same base, same shape."""
    same_base = parent.base_model == base and spec["revision"] in (None, parent.base_revision)
    return same_base and all((parent.settings or {}).get(name) == spec[name] for name in SHAPE)


def continued(
    parent: ModelVersion, learned_at: datetime | None, home: Path, dataset: Path, settings: ContinualSettings, seed: int
) -> Continued:
    """Return the continued training of ``parent`` on the ShareGPT folder ``dataset``.

    ``learned_at``: when the parent's posts were chosen (naive UTC).

    Raises:
        CorruptModel: the parent's files differ from the registered ones.
        NothingToLearn: the data set has nothing new.
    """
    folder = home / str(parent.path)
    read_artifact(folder, parent.sha256 or "")
    before = training_posts(folder)
    known = {(row["thread_id"], row["label"]) for row in before}
    trained = {row["thread_id"] for row in before if row.get("split") != sharegpt.VALIDATION}
    rows = _rows(dataset)
    new = [each for each in rows[sharegpt.TRAIN] if each.key not in known]
    if not new:
        raise NothingToLearn(
            f"No post of the data set is new to {parent.model_version}: label some, and run `labelling` first"
        )
    old = [OldPost(*each.key, each.posted_at) for each in rows[sharegpt.TRAIN] if each.key in known]
    again = replay(old, len(new), share=settings.replay_share, most=settings.replay_posts, seed=seed)
    chosen = {
        sharegpt.TRAIN: [each for each in rows[sharegpt.TRAIN] if each.key not in known or each.key[0] in again],
        sharegpt.VALIDATION: [each for each in rows[sharegpt.VALIDATION] if each.key[0] not in trained],
    }
    shown = {each.key for of in chosen.values() for each in of}
    time = {} if learned_at is None else {"learned_at": learned_at.isoformat()}
    inherited = tuple(time | row for row in before if (row["thread_id"], row["label"]) not in shown)
    images = sorted({image for of in chosen.values() for each in of for image in each.row["images"]})
    return Continued(parent, _files(dataset, chosen, images), tuple(images), len(new), len(again), inherited)


@dataclass(frozen=True)
class _Row:
    row: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def key(self) -> tuple[int, int]:
        """Thread and class."""
        return int(self.about["thread_id"]), STANCES.index(self.row["messages"][1]["content"])

    @property
    def posted_at(self) -> datetime | None:
        return datetime.fromisoformat(self.about["posted_at"]) if self.about["posted_at"] else None


def _rows(dataset: Path) -> dict[str, list[_Row]]:
    abouts = json.loads(read_regular(dataset / sharegpt.ROWS))
    return {
        split: [
            _Row(row, about)
            for row, about in zip(
                sharegpt.read_rows(dataset, split), [a for a in abouts if a["split"] == split], strict=True
            )
        ]
        for split in sharegpt.SPLITS
    }


def _files(dataset: Path, chosen: Mapping[str, Sequence[_Row]], images: Sequence[str]) -> dict[str, bytes]:
    """Return the files of the part, its manifest included."""
    files = {f"{split}.json": sharegpt.as_json([each.row for each in rows]) for split, rows in chosen.items() if rows}
    files[sharegpt.ROWS] = sharegpt.as_json([each.about for rows in chosen.values() for each in rows])
    named = json.loads(read_regular(dataset / sharegpt.MANIFEST))["files"]
    hashes = {name: sharegpt.digest(content) for name, content in files.items()} | {
        name: named[name] for name in images
    }
    version = sharegpt.digest(json.dumps(hashes, sort_keys=True).encode())
    return {**files, sharegpt.MANIFEST: sharegpt.manifest(version, hashes)}
