"""The frame of every page: settings and database, the moment shown, and the foot."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from bizcharts_pipeline.app.components.address import AS_OF, forget_as_of, keep_as_of, read_moment
from bizcharts_pipeline.app.queries.cached import database_of
from bizcharts_pipeline.app.theme import Palette, moment, palette
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import Settings, load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseBusy, DatabaseLost, DatabaseUnavailable

MAX_ERROR_CHARACTERS = 600
FIRST_RUN = """
## There is no data yet

| you want | run, in a terminal in the folder of BizCharts |
|---|---|
| the live board, every minute | `make serve` |
| the past 60 days, so that the index can rank (about 35 minutes) | `.venv/bin/bizcharts import --last 60` |
| a simulated board, to look around (3 minutes) | `make demo` |

This page shows the first reading as soon as there is one.
"""
FOOT = (
    "Source: 4chan /biz/, <https://boards.4chan.org/biz/>. Research tool, not financial advice: "
    "the mood of an anonymous board is easily manipulated, and past relations imply nothing about future returns."
)


@dataclass(frozen=True)
class View:
    """The context of a page. Times are naive UTC."""

    settings: Settings
    database: Database
    as_of: datetime | None  # None: the present
    zone: str | None  # of the viewer, as the browser names it
    palette: Palette

    @property
    def now(self) -> datetime:
        """The moment that the page shows: ``as_of``, or the present; a page may stay open for days."""
        return self.as_of or utc_now()


@contextmanager
def explained() -> Iterator[None]:
    """Show an error of ours as a sentence on the app's page, in place of what was to be drawn; the page ends there."""
    try:
        yield
    except DatabaseBusy:
        st.info("The database is busy at the moment: another program writes to it. Reload the page after a moment.")
        st.stop()
    except BizchartsError as error:
        st.error(as_markdown(str(error), MAX_ERROR_CHARACTERS))
        st.stop()


def open_view(title: str, *, follows: bool = True) -> View:
    """Show the page's title and the moment that it shows, if it ``follows`` it; return what the page is shown with.

    Without a usable database the page shows the reason and ends here.
    """
    as_of, problem = keep_as_of()
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    left.title(as_markdown(title))
    with right.popover("As of …" if as_of is None else "As of: past", width="stretch"):
        _moment_form(as_of)
    if problem:
        st.warning(problem)
    if as_of and not follows:
        st.info("This page shows what is stored now, whatever moment the other pages show.")
    elif as_of:
        st.info(f"As it was knowable at {moment(as_of)}. Later readings, posts and prices are left out.")
    with explained():
        settings = load_settings()
        database = _database(settings)
    return View(settings, database, as_of, st.context.timezone, palette(st.context.theme.type))


def _database(settings: Settings) -> Database:
    """Return the database; without one the page explains how to create it, and ends here."""
    try:
        return database_of(settings)
    except DatabaseLost:
        raise
    except DatabaseUnavailable as error:
        st.markdown(FIRST_RUN)
        st.caption(as_markdown(str(error), MAX_ERROR_CHARACTERS))
        st.stop()


def _moment_form(as_of: datetime | None) -> None:
    st.markdown("Show every page as it was knowable at a moment of the past.")
    with st.form("as_of_form", border=False):
        written = st.text_input(
            "Moment (UTC)", as_of.isoformat(" ", "minutes") if as_of else "", placeholder="2026-03-01 12:00"
        )
        show, present = st.columns(2)
        if show.form_submit_button("Show", width="stretch"):
            if at := read_moment(written):
                st.query_params[AS_OF] = at.isoformat()
                st.rerun()
            st.error("Write it as 2026-03-01 12:00.")
        if present.form_submit_button("Present", width="stretch"):
            forget_as_of()
            st.rerun()


def foot() -> None:
    """Show the foot of the app's page: the source and the warning."""
    st.divider()
    st.markdown(f":small[{FOOT}]")
