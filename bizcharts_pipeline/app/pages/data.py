"""Data: what was collected, how completely, and what is missing."""

from datetime import timedelta
from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.frame import View, explained, foot, open_view
from bizcharts_pipeline.app.queries.data import Data, collected, trainings_due
from bizcharts_pipeline.app.theme import DARK, megabytes, moment, share
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.archive.calendar_plot import ON_DARK, ON_WHITE, svg_calendar
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.models.learning_curve_plot import METRICS, svg_learning_curve
from bizcharts_pipeline.models.retraining import Terms
from bizcharts_pipeline.warehouse.coverage import CoverageSummary, DayCoverage, summary
from bizcharts_pipeline.warehouse.snapshots import OUTAGE

GAPS_SHOWN = 20
HOUR = timedelta(hours=1)


def page() -> None:
    """Draw the page."""
    view = open_view("Data", follows=False)
    with explained():
        found = collected(view.database)
    if not found.days:
        st.write("No day is there yet. `make serve` polls the board; `bizcharts import --last 60` asks the archive.")
        foot()
        return
    sums = summary(found.days)
    _totals(view, found, sums)
    _coverage(view, found, sums)
    _polls(view, found)
    _labels(view, found)
    _storage(found, sums)
    foot()


def _totals(view: View, found: Data, sums: CoverageSummary) -> None:
    with st.container(horizontal=True):
        st.metric("Days", f"{sums.days:,}", f"{sums.complete_days:,} complete", "off", delta_arrow="off", border=True)
        st.metric("Live posts", f"{sums.live_posts:,}", border=True)
        st.metric("Archive posts", f"{sums.archive_posts:,}", border=True)
        st.metric("Gaps", f"{len(sums.gaps):,}", border=True)
        st.metric("Database", megabytes(view.database.bytes_used()), border=True)


def _coverage(view: View, found: Data, sums: CoverageSummary) -> None:
    st.header("Days", anchor=False)
    said = f"{sums.complete_days:,} of {counted(sums.days, 'day')} complete"
    drawn = svg_calendar(found.days, colours=ON_DARK if view.palette == DARK else ON_WHITE)
    st.image(drawn, width="stretch", alt=f"Calendar of the days that are stored: {said}")
    st.markdown(
        f"{said}. A day is complete when it was polled in each of its hours, or when the archive gave it whole."
    )
    if sums.gaps:
        more = f" and {len(sums.gaps) - GAPS_SHOWN:,} more" if len(sums.gaps) > GAPS_SHOWN else ""
        st.markdown(f"Not complete: {', '.join(map(str, sums.gaps[:GAPS_SHOWN]))}{more}.")
    with st.expander("Each day"):
        st.dataframe([_day(each) for each in reversed(found.days)], hide_index=True, alt="Coverage of each day")


def _day(day: DayCoverage) -> dict[str, Any]:
    return {
        "day": day.day,
        "complete": "yes" if day.complete else "no",
        "hours polled": day.hours_polled,
        "live posts": day.live_posts,
        "archive posts": day.archive_posts,
        "archive": day.archive,
        "reason": day.reason or "",
    }


def _polls(view: View, found: Data) -> None:
    st.header("Polls of the last days", anchor=False)
    if not found.polls:
        st.write("The board was never polled. `make serve` does it every minute.")
        return
    st.dataframe(
        [
            {
                "day (UTC)": each.day,
                "polls": each.polls,
                "nothing new": share(each.not_modified / each.polls),
                "new threads": each.new_threads,
                "unreadable entries": each.rejected,
            }
            for each in found.polls
        ],
        hide_index=True,
        alt="Polls of each day",
    )
    if found.last_poll and view.now - found.last_poll > OUTAGE:
        hours = f"{(view.now - found.last_poll) / HOUR:.1f} hours"
        st.warning(f"The last poll was at {moment(found.last_poll)}, {hours} ago: this outage lasts.")
    if not found.outages:
        st.markdown("Between the polls there was no outage: they were never more than two hours apart.")
        return
    st.caption("Outages: more than two hours without a poll, the newest first")
    st.dataframe(
        [
            {
                "last poll": moment(each.last_poll),
                "next poll": moment(each.next_poll),
                "hours": f"{(each.next_poll - each.last_poll) / HOUR:.1f}",
            }
            for each in found.outages
        ],
        hide_index=True,
        alt="Outages of the polls",
    )


def _labels(view: View, found: Data) -> None:
    st.header("Labels", anchor=False)
    target, rated = view.settings.labelling.target, found.rated_posts
    st.progress(min(rated / target, 1.0), f"{rated:,} of {target:,} labels by people")
    st.markdown(
        f"{counted(found.gold_posts, 'post')} in the frozen test set; "
        f"{counted(found.queued_posts, 'post waits', 'posts wait')} in the queue."
    )
    if found.curve and found.worth:
        st.markdown(as_markdown(" ".join(found.worth.sentences)))
        with st.expander("Learning curve"):
            for metric in METRICS:
                st.image(svg_learning_curve(found.curve, metric), width="stretch", alt=f"Learning curve of {metric}")
    if due := trainings_due(view.database, view.settings.home_path, Terms.of(view.settings)):
        st.info(as_markdown(" ".join(due)))
    people = found.labellers
    if people.rows:
        st.dataframe(
            [dict(zip(people.columns, row, strict=True)) for row in people.rows],
            hide_index=True,
            alt="Labels by labeller",
        )
    if found.trust:
        st.caption("Labels by paid models, as measured on the test set")
        st.dataframe(
            [
                {
                    "provider": each.version.provider,
                    "model": each.version.model,
                    "posts": each.n,
                    "accuracy": share(each.accuracy),
                    "macro-F1": share(each.macro_f1),
                    "trusted": "yes" if each.trusted else "no",
                }
                for each in found.trust
            ],
            hide_index=True,
            alt="Trust in the labels of paid models",
        )


def _storage(found: Data, sums: CoverageSummary) -> None:
    st.header("Storage", anchor=False)
    for source in found.sources:
        span = f"{moment(source.oldest)} to {moment(source.newest)}"
        st.markdown(f"{counted(source.threads, 'post')} from {as_markdown(source.source)}, {span}")
    if earlier := sum(source.threads for source in found.sources) - sums.live_posts - sums.archive_posts:
        are = "is" if earlier == 1 else "are"
        st.markdown(f"{counted(earlier, 'post')} of these, such as pinned ones, {are} older than the first day above.")
    with st.expander("Tables"):
        st.dataframe(
            [
                {
                    "table": each.table,
                    "rows": each.rows,
                    "about": megabytes(each.bytes),
                    "oldest": moment(each.oldest),
                    "newest": moment(each.newest),
                }
                for each in found.tables
            ],
            hide_index=True,
            alt="Tables of the database",
        )
