"""Background thread of the labelling page; the only one that opens the database: preloads posts, deletes flagged
pictures.
"""

import threading
import time
from contextlib import suppress

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.labels.offer_posts import load_offered
from bizcharts_pipeline.labels.offers import load_candidates
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseBusy
from bizcharts_pipeline.web.notices import BUSY
from bizcharts_pipeline.web.session import LabelSession
from bizcharts_pipeline.withdrawals import FLAGGED, block

WAIT_SECONDS = 2  # maximum wait for the database, so that other tasks are not delayed
FIRST_PAGE, PAGE = 24, 200
PAUSE_SECONDS = 1
RELOAD_SECONDS = 30  # interval for new posts at the end of the deck
OTHERS_SECONDS = 5


class Reader:
    """Supplies a session from :meth:`start` until :meth:`stop`; a busy database only delays it."""

    def __init__(self, session: LabelSession, database: Database) -> None:
        self._thread = threading.Thread(target=self._run, name="labeller-reader", daemon=True)
        self._session = session
        self._database = database.waiting(WAIT_SECONDS)
        self._home = session.settings.home_path
        self._ended = threading.Event()
        self._dealt = self._checked_others = float("-inf")

    def start(self) -> None:
        """Start the thread that loads the labelling page's posts."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread that loads the labelling page's posts; a database access in progress may finish first."""
        self._ended.set()
        self._session.wake.set()
        self._thread.join(2 * WAIT_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._session.wake.clear()
            try:
                self._step()
                self._session.problem = None
            except DatabaseBusy:
                self._session.problem = BUSY
            except Exception as error:
                # Continue after any error: loaded posts can be labelled, and the next step may succeed.
                self._session.problem = str(error)[:300]
            self._session.wake.wait(PAUSE_SECONDS)

    def _step(self) -> None:
        session = self._session
        now = time.monotonic()
        if session.is_exhausted() and now >= self._dealt + RELOAD_SECONDS:
            with self._database.read() as connection:
                candidates = load_candidates(connection, session.filters)
            session.deal(candidates)
            self._dealt = time.monotonic()
        if now >= self._checked_others + OTHERS_SECONDS:
            session.drop_labelled_by_others()
            self._checked_others = now
        size = FIRST_PAGE
        while not self._ended.is_set() and (wanted := session.wanted()[:size]):
            with self._database.read() as connection:
                posts = load_offered(connection, wanted)
            session.accept(wanted, posts)
            size = PAGE
        for thread in session.to_delete():
            self._delete(thread)

    def _delete(self, thread: int) -> None:
        with suppress(NothingToBlock):  # its pictures are unknown, so there is nothing to delete
            block(self._database, self._home, thread, FLAGGED, utc_now())
        self._session.deleted(thread)
