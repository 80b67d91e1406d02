"""Which posts a model is to be asked about next."""

from pathlib import Path

from bizcharts_pipeline.autolabel.keys import Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.core.sqlite import is_known
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.auto_labels import Doubt, LabelVersion, candidates
from bizcharts_pipeline.warehouse.database import Database


class FlaggedPosts:
    """The threads that somebody has flagged as illegal and did not take that back, as of the moment it is called.

    They are read again only when there are more labels: a flag that was taken back since may be one still.
    """

    def __init__(self, home: Path) -> None:
        self._people = LabelLedger(home / LEDGER)
        self._count = 0
        self._flagged: set[int] = set()

    def __call__(self) -> set[int]:
        if is_known(self._people.path) and (count := self._people.count()) != self._count:
            flagged = {label.thread_id for label in self._people.standing() if label.flag == "illegal"}
            self._flagged, self._count = flagged, count
        return self._flagged


def waiting_posts(
    database: Database, home: Path, settings: Settings, ledger: AutoLabelLedger, version: Version, first: Version
) -> list[int]:
    """Return at most ``per_run`` threads in the order in which ``version`` is to be asked about them.

    If it is not the ``first``, those are gold and what the first refused or was unsure of. Posts that somebody flagged
    as illegal are never among them, nor those that are being asked now. The table ``auto_labels`` is to be up to date.
    """
    people = LabelLedger(home / LEDGER)
    known = is_known(people.path)
    labels = people.newest() if known else []
    wanted = settings.auto_labels
    with database.read() as connection:
        return candidates(
            connection,
            stored_version(version),
            gold=[post.thread_id for post in people.gold()] if known else [],
            labelled={label.thread_id for label in labels if not label.skipped},
            excluded=FlaggedPosts(home)() | ledger.under_way(version),
            spam_cut=settings.fear_greed.spam_cut,
            limit=wanted.per_run,
            doubt=None if version == first else Doubt(stored_version(first), wanted.unsure_below),
        )


def stored_version(version: Version) -> LabelVersion:
    """Return a version as ``auto_labels`` knows it."""
    return LabelVersion(version.provider, version.model, version.endpoint, version.prompt_version)
