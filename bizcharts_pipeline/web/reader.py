"""The one thread of the labeller that opens the database: it reads ahead, and deletes what was flagged as illegal."""

import threading
import time
from contextlib import suppress
from dataclasses import replace

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.labels.offer_posts import load_offered
from bizcharts_pipeline.labels.offers import load_candidates
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseBusy
from bizcharts_pipeline.web.notices import BUSY
from bizcharts_pipeline.web.session import LabelSession
from bizcharts_pipeline.withdrawals import FLAGGED, block

TURN_SECONDS = 2  # waiting for the database is cut short to look whether there is something else to do
FIRST_PAGE, PAGE = 24, 200
PAUSE_SECONDS = 1
LOOK_AGAIN_SECONDS = 30  # at the deck's end, for new posts
OTHERS_SECONDS = 5


class Reader:
    """Keeps a session supplied from :meth:`start` until :meth:`stop`; a database that is busy only makes it late."""

    def __init__(self, session: LabelSession, database: Database) -> None:
        self._thread = threading.Thread(target=self._run, name="labeller-reader", daemon=True)
        self._session = session
        self._database = replace(database, wait_seconds=TURN_SECONDS)
        self._home = session.settings.home_path
        self._ended = threading.Event()
        self._dealt = self._asked_others = float("-inf")

    def start(self) -> None:
        """Begin to read and delete, beside the caller."""
        self._thread.start()

    def stop(self) -> None:
        """End that; a turn with the database may be finished first."""
        self._ended.set()
        self._session.wake.set()
        self._thread.join(2 * TURN_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._session.wake.clear()
            try:
                self._turn()
                self._session.problem = None
            except DatabaseBusy:
                self._session.problem = BUSY
            except Exception as error:
                # Whatever it is: what is ready can be labelled, and the next turn may do better.
                self._session.problem = str(error)[:300]
            self._session.wake.wait(PAUSE_SECONDS)

    def _turn(self) -> None:
        session = self._session
        now = time.monotonic()
        if session.is_exhausted() and now >= self._dealt + LOOK_AGAIN_SECONDS:
            with self._database.read() as connection:
                candidates = load_candidates(connection, session.filters)
            session.deal(candidates)
            self._dealt = time.monotonic()
        if now >= self._asked_others + OTHERS_SECONDS:
            session.learn_of_others()
            self._asked_others = now
        size = FIRST_PAGE
        while not self._ended.is_set() and (wanted := session.wanted()[:size]):
            with self._database.read() as connection:
                posts = load_offered(connection, wanted)
            session.accept(wanted, posts)
            size = PAGE
        for thread in session.to_delete():
            self._delete(thread)

    def _delete(self, thread: int) -> None:
        with suppress(NothingToBlock):  # nothing is known of it, so there is nothing to delete
            block(self._database, self._home, thread, FLAGGED, utc_now())
        self._session.deleted(thread)
