"""An archive that says less than it has: a day is then not complete, or complete all the same, and never half."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from archive_world import NOW, START, Reader, reader_of

from bizcharts_pipeline.archive.days import IncompleteDay
from bizcharts_pipeline.archive.page import ArchivedFile, ArchivedPost
from bizcharts_pipeline.archive.search_import import import_newest, import_search
from bizcharts_pipeline.archive.times import correct_times
from bizcharts_pipeline.core.progress import silently
from bizcharts_pipeline.demo.archive.posts import Quirks
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import Page
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.warehouse.errors import DatabaseCorrupt

DAY = timedelta(days=1)
MIDDLE = START + 5 * DAY
Lie = Callable[["LyingArchive", str, dict[str, str]], Page | None]


class LyingArchive(SimulatedArchive):
    """Answers a search as ``lie`` makes it; the index stays true."""

    lie: Lie | None = None
    cut = False

    def true_page(self, path: str, fields: dict[str, str]) -> Page | None:
        return super().page(path, urlencode(fields))

    def page(self, path: str, query: str) -> Page | None:
        fields = dict(parse_qsl(query, keep_blank_values=True))
        if self.lie is not None and fields.get("task") == "search2":
            return self.lie(path, fields)
        return super().page(path, query)


def offset_ignored(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    return server.true_page(path, fields | {"offset": "0"})


def offset_and_order_ignored(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    return server.true_page(path, fields | {"offset": "0", "search_ord": "new"})


def order_ignored(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    return server.true_page(path, fields | {"search_ord": "old"})


def blank_from_the_third_page(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    blank = {"search_text": "nobodysaysthis"} if int(fields["offset"]) >= 48 else {}
    return server.true_page(path, fields | blank)


def blank_for_days(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    """Finds nothing between dates, but everything without an end."""
    return server.true_page(path, fields | ({"search_text": "nobodysaysthis"} if fields["search_dateto"] else {}))


def second_page_cut_once(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    page = server.true_page(path, fields)
    if page is None or fields["offset"] != "24" or server.cut:
        return page
    server.cut = True
    end = [match.end() for match in re.finditer(rb"</blockquote></table>", page.body)][9]
    return replace(page, body=page.body[:end])


def times_unreadable(server: LyingArchive, path: str, fields: dict[str, str]) -> Page | None:
    page = server.true_page(path, fields)
    if page is None:
        return None
    return replace(page, body=re.sub(rb"(posttime title=)\d+(?=3)", rb"\1x", page.body, count=1))


def take(reader: Reader) -> bool:
    """Whether the day became complete."""
    try:
        reader.take(MIDDLE)
    except SourceError:
        return False
    return True


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, 12, threads_per_day=120)


@pytest.mark.parametrize(
    "lie",
    [
        offset_ignored,
        offset_and_order_ignored,
        order_ignored,
        blank_from_the_third_page,
        blank_for_days,
        second_page_cut_once,
        times_unreadable,
    ],
)
def test_a_day_is_never_complete_with_posts_missing(world: World, tmp_path: Path, lie: Lie) -> None:
    with LyingArchive(world, now=NOW) as server:
        reader = reader_of(server, tmp_path)
        server.lie = lie.__get__(server)  # type: ignore[attr-defined]
        if take(reader):
            assert reader.stored() == reader.truth(MIDDLE)
        else:
            assert not any(complete for _, _, complete in reader.days())
        server.lie = None
        reader.take(MIDDLE)
        assert reader.stored() == reader.truth(MIDDLE)
        assert reader.days()[0][2]


@pytest.mark.parametrize(
    "lie", [order_ignored, blank_from_the_third_page, offset_ignored, blank_for_days, second_page_cut_once]
)
def test_what_a_search_hides_the_other_ways_find(world: World, tmp_path: Path, lie: Lie) -> None:
    with LyingArchive(world, now=NOW) as server:
        reader = reader_of(server, tmp_path)
        server.lie = lie.__get__(server)  # type: ignore[attr-defined]
        assert take(reader)
        assert reader.stored() == reader.truth(MIDDLE)


@pytest.mark.slow
def test_order_ignored_on_a_crowded_day_is_not_taken_for_its_end(tmp_path: Path) -> None:
    with LyingArchive(World(6, START, 3, threads_per_day=5600), now=START + 3 * DAY) as server:
        reader = reader_of(server, tmp_path)
        server.lie = order_ignored.__get__(server)  # type: ignore[attr-defined]
        complete = True
        try:
            reader.take(START + DAY, now=START + 3 * DAY)
        except SourceError:
            complete = False
        assert reader.stored() == reader.truth(START + DAY) if complete else True


def test_an_index_that_stops_early_makes_no_day_complete(world: World, tmp_path: Path) -> None:
    class ShortIndex(SimulatedArchive):
        def page(self, path: str, query: str) -> Page | None:
            number = dict(parse_qsl(query)).get("page", "1")
            return super().page(path, query if int(number) <= 20 else "task=page&page=99999")

    with ShortIndex(world, now=NOW, empty_text_finds_nothing=True) as server:
        reader = reader_of(server, tmp_path)
        with pytest.raises(IncompleteDay, match="index ends"):
            reader.take(MIDDLE)
        assert [row[2] for row in reader.days()] == [False]


def test_an_archive_that_stopped_days_ago_completes_no_day_that_it_did_not_reach(world: World, tmp_path: Path) -> None:
    with SimulatedArchive(world, now=MIDDLE + timedelta(hours=12)) as server:
        reader = reader_of(server, tmp_path)
        with pytest.raises(IncompleteDay, match="no posts after"):
            reader.take(MIDDLE, now=MIDDLE + 6 * DAY)


def test_pages_of_a_day_hardly_over_are_not_put_together_with_later_ones(world: World, tmp_path: Path) -> None:
    night = MIDDLE + DAY + timedelta(minutes=30)
    with SimulatedArchive(world, now=night) as server:
        reader = reader_of(server, tmp_path)
        reader.database.path.write_bytes(b"no database")
        with pytest.raises(DatabaseCorrupt):
            reader.take(MIDDLE, now=night, again=True)  # all is fetched, and nothing stored
        reader.database.path.unlink()
        asked = len(server.requests)
        server.now = night + timedelta(minutes=40)
        reader.take(MIDDLE, now=server.now)
        assert len(server.requests) - asked > 4
        assert reader.stored() == reader.truth(MIDDLE)


def test_pages_of_another_address_are_not_read_as_this_ones(world: World, tmp_path: Path) -> None:
    other = World(77, START, 12, threads_per_day=120)
    with SimulatedArchive(other, now=NOW) as first, SimulatedArchive(world, now=NOW) as second:
        stopped = reader_of(first, tmp_path)
        stopped.database.path.write_bytes(b"no database")
        with pytest.raises(DatabaseCorrupt):
            stopped.take(MIDDLE, again=True)  # all its pages are kept, and none is stored
        stopped.database.path.unlink()
        reader = reader_of(second, tmp_path)
        reader.take(MIDDLE)
        assert reader.stored() == reader.truth(MIDDLE)


@pytest.mark.slow
def test_an_excerpt_does_not_put_a_wrong_time_over_a_right_one(world: World, tmp_path: Path) -> None:
    quirks = Quirks(wrong_times_before=NOW, removed_files=0.3)
    with SimulatedArchive(world, now=NOW, quirks=quirks) as server:
        reader = reader_of(server, tmp_path)
        reader.take(MIDDLE)
        right = reader.truth(MIDDLE)
        assert reader.stored() == right
        import_search(reader.archive, reader.database, "bitcoin", 2000, NOW, silently)
        import_newest(reader.archive, reader.database, 100, NOW, silently)
        assert {number: at for number, at in reader.stored().items() if number in right} == right


def test_an_incomplete_look_leaves_a_complete_days_comparison(world: World, tmp_path: Path) -> None:
    with LyingArchive(world, now=NOW) as server:
        reader = reader_of(server, tmp_path)
        reader.take(MIDDLE)
        with reader.database.read() as connection:
            before = connection.execute("SELECT * FROM archive_overlaps").fetchall()
        server.lie = times_unreadable.__get__(server)  # type: ignore[attr-defined]
        with pytest.raises(IncompleteDay, match="cannot be read"):
            reader.take(MIDDLE, again=True)
        with reader.database.read() as connection:
            assert connection.execute("SELECT * FROM archive_overlaps").fetchall() == before
        assert [row[2] for row in reader.days()] == [True]


def test_a_lone_wrong_time_between_right_ones_is_set_right() -> None:
    def post(number: int, minutes: float, picture: bool) -> ArchivedPost:
        file = ArchivedFile("a.jpg", 1, 1, 1, image_url="https://i.warosu.org/a.jpg") if picture else None
        return ArchivedPost(number, number, START + timedelta(minutes=minutes), "", "Anonymous", file=file)

    around = [post(1, 0, True), post(2, 1 - 300, False), post(3, 2, True)]
    assert correct_times(around)[1].posted_at == START + timedelta(minutes=1)
