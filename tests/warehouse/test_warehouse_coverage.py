import re
from datetime import date, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import prepared

from bizcharts_pipeline.archive.calendar_plot import (
    LEGEND,
    NOTHING,
    ON_DARK,
    ON_WHITE,
    PARTLY,
    Colours,
    describe,
    kind,
    svg_calendar,
)
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage, ranges, summary
from bizcharts_pipeline.warehouse.threads import merge_threads
from bizcharts_pipeline.warehouse.values import literal

Connection = duckdb.DuckDBPyConnection
FIRST = date(2026, 2, 27)
SVG = "{http://www.w3.org/2000/svg}"


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 2, 27) + timedelta(days=day, hours=hour, minutes=minute)


def thread(connection: Connection, thread_id: int, moment: datetime, source: str) -> None:
    post = prepared(thread_id, posted_at=moment, source=source)
    merge_threads(connection, [post], ingested_at=moment, seen_at=moment if source == "live" else None)


def archive_day(connection: Connection, day: int, complete: bool, reason: str | None = None) -> None:
    connection.execute(
        f"INSERT INTO warosu_days (day, rows, complete, reason) "
        f"VALUES ({literal(at(day))}::DATE, 9, {literal(complete)}, {literal(reason)})"
    )


def polls(connection: Connection, day: int, hours: int) -> None:
    for hour in range(hours):
        for minute in (5, 6):
            connection.execute(
                "INSERT INTO catalog_snapshots (snapshot_at, not_modified) "
                f"VALUES ({literal(at(day, hour, minute))}, FALSE)"
            )


def test_every_day_between_the_first_and_the_last_says_what_is_there(connection: Connection) -> None:
    assert coverage(connection) == []
    thread(connection, 1, at(0), "warosu")
    thread(connection, 2, at(0, 23, 59), "warosu")
    archive_day(connection, 0, True)
    archive_day(connection, 1, False, "blocked <b>")
    polls(connection, 2, 3)
    polls(connection, 4, 24)
    thread(connection, 3, at(4, 12), "live")
    days = coverage(connection)
    assert days == [
        DayCoverage(FIRST, 0, 2, 0, "complete"),
        DayCoverage(date(2026, 2, 28), 0, 0, 0, "incomplete", "blocked <b>"),
        DayCoverage(date(2026, 3, 1), 0, 0, 3, "not asked"),
        DayCoverage(date(2026, 3, 2), 0, 0, 0, "not asked"),
        DayCoverage(date(2026, 3, 3), 1, 0, 24, "not asked"),
    ]
    assert coverage(connection, date(2026, 2, 28), date(2026, 3, 1)) == days[1:3]
    found = summary(days)
    assert [str(gap) for gap in found.gaps] == ["2026-02-28 to 2026-03-02"]
    assert (found.complete_days, found.earliest_complete, found.newest_complete) == (2, FIRST, date(2026, 3, 3))
    assert (found.live_posts, found.archive_posts, found.days) == (1, 2, 5)


@given(st.lists(st.dates(date(2024, 2, 20), date(2024, 3, 20))))
def test_ranges_are_the_unbroken_stretches(days: list[date]) -> None:
    found = ranges(days)
    spelt_out = [r.first + timedelta(days=k) for r in found for k in range((r.last - r.first).days + 1)]
    assert spelt_out == sorted(set(days))
    assert all(b.first - a.last > timedelta(days=1) for a, b in pairwise(found))


def test_the_calendar_of_twelve_years_has_every_day_once_and_in_its_week() -> None:
    start, count = date(2014, 6, 1), 12 * 365
    days = [DayCoverage(start + timedelta(days=k), k % 3, k % 5, k % 25, "not asked") for k in range(count)]
    picture = ElementTree.fromstring(svg_calendar(days))
    squares = [rect for rect in picture.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert [rect.findtext(f"{SVG}title") for rect in squares] == [
        describe(day) for year in range(2026, 2013, -1) for day in days if day.day.year == year
    ]
    places = {(rect.get("x"), rect.get("y")) for rect in squares}
    assert len(places) == count
    width, height = (float(number) for number in picture.attrib["viewBox"].split()[2:])
    assert all(float(rect.attrib["x"]) + 10 <= width and float(rect.attrib["y"]) + 10 <= height for rect in squares)
    for earlier, later in pairwise(days):
        if later.day.weekday() == 0 and later.day.year == earlier.day.year:
            sunday, monday = (by_title(squares, day) for day in (earlier, later))
            assert float(monday.attrib["x"]) > float(sunday.attrib["x"])
            assert float(monday.attrib["y"]) < float(sunday.attrib["y"])
            break


def by_title(squares: list[ElementTree.Element], day: DayCoverage) -> ElementTree.Element:
    return next(rect for rect in squares if rect.findtext(f"{SVG}title") == describe(day))


@pytest.mark.parametrize("colours", [ON_WHITE, ON_DARK])
def test_the_calendar_escapes_what_came_from_outside_and_explains_its_colours(colours: Colours) -> None:
    day = DayCoverage(FIRST, 0, 3, 0, "incomplete", '<script>alert("&")</script>')
    drawn = svg_calendar([day], "days & <nights>", colours)
    assert "<script>" not in drawn
    assert '<script>alert("&")</script>' in "".join(ElementTree.fromstring(drawn).itertext())
    assert kind(day) == PARTLY
    assert kind(DayCoverage(FIRST, 0, 0, 0, "not asked")) == NOTHING
    assert drawn.count(f'fill="{colours.squares[PARTLY]}"') == 2  # in the legend, and the day
    legend = zip(colours.squares, LEGEND, strict=True)
    assert all(re.search(f'fill="{fill}"/>\\s*<text[^>]*>{label}<', drawn) for fill, label in legend)
    ElementTree.fromstring(svg_calendar([]))
