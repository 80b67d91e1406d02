"""What a search finds and what the newest pages have come in at once, without making a day complete."""

import gzip
from datetime import timedelta
from pathlib import Path

import pytest
from archive_world import NOW, START, reading

from bizcharts_pipeline.archive.errors import ArchiveFormatError
from bizcharts_pipeline.archive.page import ArchivedFile, ArchivedPost
from bizcharts_pipeline.archive.search_import import import_newest, import_search
from bizcharts_pipeline.archive.times import correct_times
from bizcharts_pipeline.core.clock import SLACK
from bizcharts_pipeline.core.progress import silently
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, 12, threads_per_day=120)


@pytest.mark.slow
def test_a_search_brings_the_newest_posts_with_the_words_in_text_or_subject(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        report = import_search(reader.archive, reader.database, "bitcoin", 500, NOW, silently)
        with reader.database.read() as connection:
            rows = connection.execute(
                "SELECT thread_id, coalesce(subject, ''), op_text_clean FROM thread_ops"
            ).fetchall()
        truth = {
            thread.thread_id
            for thread in world.threads_between(START, NOW)
            if "bitcoin" in f"{thread.subject_text or ''} {thread.html}".lower().replace("<br>", " ")
        }
        assert 20 < report.posts == report.new == len(rows) < 500
        assert {row[0] for row in rows} <= truth
        assert all("bitcoin" in f"{subject} {text}".lower() for _, subject, text in rows)
        assert reader.days() == []
        again = import_search(reader.archive, reader.database, "bitcoin", 10, NOW, silently)
        assert (again.posts, again.new) == (10, 0)


def test_the_newest_pages_bring_threads_with_their_replies_so_far(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        report = import_newest(reader.archive, reader.database, 3, NOW, silently)
        assert (report.pages, report.posts, report.new) == (3, 30, 30)
        newest = sorted((t.thread_id for t in world.threads_between(START, NOW)), reverse=True)[:30]
        assert sorted(reader.stored(), reverse=True) == newest


def test_posts_dated_in_the_future_are_named_and_kept_as_evidence_but_not_stored(world: World, tmp_path: Path) -> None:
    now = NOW - timedelta(hours=3)
    with reading(world, tmp_path) as reader:
        report = import_newest(reader.archive, reader.database, 3, now, silently)
        stored = reader.stored()
        newest = sorted((t.thread_id for t in world.threads_between(START, NOW)), reverse=True)[:30]
        future = [number for number in newest if reader.server.posted_at(number) > now + SLACK]
        assert 5 < len(future) < 25
        assert sorted(stored, reverse=True) == [number for number in newest if number not in future]
        assert report.newest == max(stored.values()) <= now + SLACK
        assert list(report.problems) == [
            f"No. {number}: dated {reader.server.posted_at(number):%Y-%m-%d %H:%M}, in the future" for number in future
        ]
        notes = "".join(path.read_text() for path in (reader.archive.folder / "rejected").glob("*.reason.txt"))
        assert all(f"No. {number}:" in notes for number in future)


def test_every_rejected_page_is_kept_though_all_have_the_same_place(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        for body in (b"<p>first", b"<p>second", b"<p>first"):
            with pytest.raises(ArchiveFormatError, match="is kept in") as refused:
                reader.archive.read(body, "search-0000")
            kept = Path(str(refused.value).rpartition("is kept in ")[2])
            assert gzip.decompress(kept.read_bytes()) == body
        assert len(list(kept.parent.glob("search-0000-*.html.gz"))) == 2


def test_what_came_before_the_archive_stopped_is_stored(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        reader.server.fail_next(*[Fault.RESET] * 2)
        assert import_newest(reader.archive, reader.database, 2, NOW, silently).posts == 20


def post(number: int, minutes: float, corrected: int = 0, *, pictured: bool = True) -> ArchivedPost:
    file = ArchivedFile("a.jpg", 1, 1, 1, image_url="https://i.warosu.org/a.jpg") if pictured else None
    stored = START + timedelta(minutes=minutes, seconds=-corrected)
    return ArchivedPost(number, number, stored, "", "Anonymous", file=file, corrected_by_seconds=corrected)


@pytest.mark.parametrize("corrected", [0, 14_400, 18_000])
def test_a_post_without_a_picture_is_corrected_as_its_neighbours_are(corrected: int) -> None:
    hidden = ArchivedPost(2, 2, START + timedelta(minutes=1, seconds=-corrected), "", "Anonymous")
    between = correct_times([post(3, 2, corrected), hidden, post(1, 0, corrected)])
    assert [each.posted_at for each in between] == [START + timedelta(minutes=minutes) for minutes in range(3)]


def test_where_neighbours_differ_the_time_between_theirs_is_taken() -> None:
    hidden = ArchivedPost(2, 2, START + timedelta(minutes=1), "", "Anonymous")
    assert correct_times([post(1, 0, 18_000), hidden, post(3, 2)])[1].posted_at == START + timedelta(minutes=1)
    wrong = ArchivedPost(2, 2, START + timedelta(minutes=1, seconds=-18_000), "", "Anonymous")
    assert correct_times([post(1, 0, 18_000), wrong, post(3, 2)])[1].posted_at == START + timedelta(minutes=1)
