"""Selects the posts that a model labels next."""

from pathlib import Path

from bizcharts_pipeline.autolabel.keys import Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.auto_labels import Doubt, LabelVersion, candidates
from bizcharts_pipeline.warehouse.database import Database


class FlaggedPosts:
    """Callable that returns the threads currently flagged as illegal.

    The labels are read again only when their number has grown, as withdrawing a flag adds a label too.
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
    """Return at most ``per_run`` threads, in the order in which the labelling model ``version`` labels them.

    A version other than ``first`` labels only gold posts and those that the first refused or was unsure of. Posts
    flagged as illegal and posts in flight are excluded. The table ``auto_labels`` must be up to date.
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
    """Return the version of a labelling model as stored in ``auto_labels``."""
    return LabelVersion(version.provider, version.model, version.endpoint, version.prompt_version)
