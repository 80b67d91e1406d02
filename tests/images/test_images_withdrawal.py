"""Pictures go when they must, and only then: blocked, deleted at the source, expired, orphaned."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from hostile import drawn, encoded
from picture_world import NOON, PictureWorld, md5_of, stored_bytes
from vision_world import thumbnail

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.images.fates import FateReport
from bizcharts_pipeline.images.withdrawal import TidyReport, block, expire_pictures, tidy_store
from bizcharts_pipeline.maintenance import MaintenanceReport, maintain
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.pictures import record_picture

A, B, C = (encoded(drawn(seed), "JPEG") for seed in (1, 2, 3))
A_AGAIN = encoded(drawn(1).resize((100, 75)), "JPEG", quality=60)  # another file of the same picture


def fates(world: PictureWorld) -> dict[int, str]:
    with world.database.read() as connection:
        return dict(connection.execute("SELECT thread_id, fate FROM thread_fates").fetchall())


def pass_after(world: PictureWorld, minutes: float, *threads: SourceThread, rejected: int = 0) -> FateReport:
    """Let the board show ``threads`` so many minutes later, and look what became of the others."""
    world.later(minutes=minutes)
    world.poll(*threads, rejected=rejected)
    return world.fetch().fates


def maintained(world: PictureWorld) -> MaintenanceReport:
    return maintain(world.database, world.home, RetentionSettings(), world.now)


def tidied(world: PictureWorld, *, dry_run: bool = False) -> TidyReport:
    return tidy_store(world.database, world.home, world.now, dry_run=dry_run)


def dated(world: PictureWorld, days_ago: float, paths: Iterable[Path]) -> None:
    at = to_epoch(world.now - timedelta(days=days_ago))
    for path in paths:
        os.utime(path, (at, at), follow_symlinks=False)


@pytest.mark.slow
def test_a_blocked_picture_goes_everywhere_and_never_comes_back(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, A), world.thread(3, A_AGAIN), world.thread(4, B))
    world.fetch()
    report = block(world.database, world.home, 1, "reported", world.now)
    assert report.pictures == 3
    assert world.rows() == {1: "blocked", 2: "blocked", 3: "blocked", 4: "stored"}
    assert stored_bytes(world.files()) == {B}
    assert world.rows("path, sha256 IS NOT NULL")[1] == (None, True)
    world.later(minutes=1)
    world.poll(world.thread(11, A), world.thread(12, A_AGAIN), world.thread(13, C))
    later = world.fetch()
    assert {number: world.rows()[number] for number in (11, 12, 13)} == {11: "blocked", 12: "blocked", 13: "stored"}
    assert sum("blocked: reported" in problem for problem in later.problems) == 2
    assert stored_bytes(world.files()) == {B, C}


@pytest.mark.parametrize("kind", ["sha256", "perceptual_hash", "md5"])
def test_a_picture_can_be_blocked_by_any_of_its_hashes(world: PictureWorld, kind: str) -> None:
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    hash = md5_of(C) if kind == "md5" else world.rows(kind)[1]
    assert block(world.database, world.home, hash, "", world.now).pictures == (0 if kind == "md5" else 1)
    world.later(minutes=1)
    world.poll(world.thread(3, C))
    world.fetch()
    assert world.rows()[3] == ("blocked" if kind == "md5" else "stored")
    assert world.rows()[2] == "stored"


def test_a_post_whose_full_picture_is_blocked_is_not_even_asked_for(world: PictureWorld) -> None:
    md5 = md5_of(b"the full picture")
    world.poll(world.thread(1, A, image_md5=md5))
    world.fetch()
    block(world.database, world.home, 1, "reported", world.now)
    asked = len(world.board.asked)
    world.later(minutes=1)
    world.poll(world.thread(2, C, image_md5=md5))
    world.fetch()
    assert world.rows() == {1: "blocked", 2: "blocked"}
    assert len(world.board.asked) == asked


def test_blocking_twice_is_as_once_and_what_is_no_hash_is_refused(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2))
    world.fetch()
    assert block(world.database, world.home, 1, "", world.now).new_hashes == 2
    assert block(world.database, world.home, 1, "", world.now).new_hashes == 0
    for nothing in (2, 99, "nonsense", "ab" * 31):
        with pytest.raises(NothingToBlock):
            block(world.database, world.home, nothing, "", world.now)


def test_a_thread_that_is_neither_on_the_board_nor_archived_was_deleted_and_its_pictures_go(
    world: PictureWorld,
) -> None:
    world.poll(world.thread(1, A), world.thread(2, B), world.thread(3, C), world.thread(4, C))
    world.fetch()
    world.board.archived = [2]
    report = pass_after(world, 20, world.thread(4, C))  # 1, 2 and 3 have left
    assert (report.archived, report.deleted, report.purged_pictures) == (1, 0, 0)
    assert world.rows() == dict.fromkeys((1, 2, 3, 4), "stored")
    report = pass_after(world, 10, world.thread(4, C))
    assert (report.archived, report.deleted, report.purged_pictures) == (0, 2, 2)
    assert fates(world) == {1: "deleted", 2: "archived", 3: "deleted"}
    assert world.rows() == {1: "purged", 2: "stored", 3: "purged", 4: "stored"}
    assert stored_bytes(world.files()) == {B, C}  # thread 4 still shows C


def test_a_list_that_is_an_old_copy_purges_nothing(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    world.board.archived = [77]
    pass_after(world, 15)
    assert fates(world) == {1: "missing once"}
    asked = len(world.board.asked)
    pass_after(world, 9)  # too soon to look again
    assert len(world.board.asked) == asked
    world.board.archived = [77, 1]
    assert pass_after(world, 1).archived == 1
    assert fates(world) == {1: "archived"}
    assert world.rows() == {1: "stored"}


@pytest.mark.slow
def test_a_thread_whose_entry_can_not_be_read_is_not_taken_for_deleted(world: PictureWorld) -> None:
    world.board.archived = [99]
    pass_after(world, 0, world.thread(1, A), world.thread(2, B))
    for _ in range(5):
        pass_after(world, 15, world.thread(2, B), rejected=1)
        world.later(minutes=1)
        world.poll_unchanged()  # of the catalogue that could not be read
        world.fetch()
    assert fates(world) == {}
    assert "/biz/archive.json" not in world.board.asked
    pass_after(world, 15, world.thread(2, B))  # now it is surely not there
    pass_after(world, 10, world.thread(2, B), rejected=1)
    assert fates(world) == {1: "deleted"}


def test_the_board_is_asked_once_and_only_while_something_is_undecided(world: PictureWorld) -> None:
    world.board.archived = [1, 2]
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    world.later(minutes=20)
    world.poll()
    for _ in range(3):
        world.fetch()
        world.later(minutes=20)
        world.poll()
    assert world.board.asked.count("/biz/archive.json") == 1


def test_a_thread_that_left_a_moment_or_days_ago_is_left_undecided(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    world.board.archived = [99]
    world.later(minutes=5)
    world.poll()
    world.fetch()
    assert fates(world) == {}
    world.later(days=4)
    world.poll()
    world.fetch()
    assert fates(world) == {}
    assert world.rows() == {1: "stored"}


@pytest.mark.parametrize("answer", ["404", "500", "html", "empty", "no numbers"])
def test_nothing_is_purged_on_an_answer_that_is_no_list(world: PictureWorld, answer: str) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    world.later(minutes=20)
    world.poll()
    if answer == "no numbers":
        world.board.archived = ["1", None]  # type: ignore[list-item]
    elif answer != "empty":
        world.board.fail_next(*[answer] * 4) if answer != "404" else setattr(world.board, "page", lambda *_: None)
    report = world.fetch()
    assert world.rows() == {1: "stored"}
    assert fates(world) == {}
    assert "deleted threads cannot be detected" in report.warnings[0]


def test_a_thread_that_comes_back_was_not_deleted_and_gets_its_picture_again(world: PictureWorld) -> None:
    world.board.archived = [99]
    first, second = world.thread(1, A), world.thread(2, B)
    pass_after(world, 0, first, second)
    pass_after(world, 20, second)
    pass_after(world, 20, second)
    assert world.rows() == {1: "purged", 2: "stored"}
    pass_after(world, 20, first, second)
    assert fates(world) == {}
    assert world.rows() == {1: "stored", 2: "stored"}
    assert stored_bytes(world.files()) == {A, B}


def test_a_miss_before_a_thread_came_back_does_not_count(world: PictureWorld) -> None:
    world.board.archived = [99]
    pass_after(world, 0, world.thread(1, A))
    pass_after(world, 20)
    assert fates(world) == {1: "missing once"}
    world.later(minutes=5)
    world.poll(world.thread(1, A))
    pass_after(world, 20)
    assert fates(world) == {1: "missing once"}
    assert world.rows() == {1: "stored"}


def test_a_deleted_file_does_not_come_back_with_its_thread(world: PictureWorld) -> None:
    world.board.archived = [99]
    pass_after(world, 0, world.thread(1, A))
    pass_after(world, 1, world.thread(1, file_deleted=True))
    pass_after(world, 20)
    pass_after(world, 20)
    assert fates(world) == {1: "deleted"}
    pass_after(world, 1, world.thread(1, file_deleted=True))
    assert world.rows("status, reason") == {1: ("purged", "the board deleted the file")}


def test_a_file_that_the_board_deletes_later_goes(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    world.later(minutes=1)
    world.poll(world.thread(1, file_deleted=True))
    assert world.fetch().fates.purged_pictures == 1
    assert world.rows("status, reason") == {1: ("purged", "the board deleted the file")}
    assert world.files() == []


def test_old_pictures_expire_and_those_of_labelled_posts_stay(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    world.label(2)
    world.later(days=1)
    world.poll(world.thread(3, C))
    world.fetch()
    limit = world.now - timedelta(hours=1)
    assert expire_pictures(world.database, world.home, limit, dry_run=True).pictures == 1
    assert world.rows()[1] == "stored"
    report = expire_pictures(world.database, world.home, limit)
    assert (report.pictures, report.bytes) == (1, len(A))
    assert world.rows() == {1: "expired", 2: "stored", 3: "stored"}
    assert stored_bytes(world.files()) == {B, C}
    assert expire_pictures(world.database, world.home, limit).pictures == 0


def test_pictures_of_posts_that_anybody_or_anything_has_labelled_do_not_expire(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, A) for number in range(1, 6)))
    world.fetch()
    world.label(1)
    world.label_by_a_model(2)
    world.label_in_the_ledger(3)
    world.label_in_the_ledger(4, rating=None)
    world.later(days=31)
    planned = maintain(world.database, world.home, RetentionSettings(), world.now, dry_run=True)
    done = maintained(world)
    assert [rule.rows for report in (planned, done) for rule in report.rules if rule.rule == "pictures"] == [1, 1]
    assert world.rows() == {1: "stored", 2: "stored", 3: "stored", 4: "stored", 5: "expired"}


def test_what_no_row_refers_to_is_tidied_away_and_what_is_lost_is_said(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    kept, lost = (world.home / world.rows("path")[number] for number in (1, 2))
    lost.unlink()
    half = kept.parent / ".tmp-77-abcdef"
    half.write_bytes(b"half")
    orphan, young = (world.home / "images" / "00" / "11" / f"0011{place:060}.png" for place in (1, 2))
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    young.write_bytes(b"perhaps of a newer database")
    (kept.parent / "notes.txt").write_text("not ours")
    dated(world, 8, [half, orphan, kept, kept.parent / "notes.txt"])
    dated(world, 6, [young])
    planned = tidied(world, dry_run=True)
    assert orphan.exists()
    done = tidied(world)
    assert planned == done
    assert done == TidyReport(orphans=2, bytes=12, lost=1)
    assert world.files() == sorted([kept, kept.parent / "notes.txt", young])
    assert world.rows("status, reason") == {1: ("stored", None), 2: ("missing", "lost from the store")}
    assert tidied(world) == TidyReport(0, 0, 0)


def test_a_store_that_is_away_for_a_while_loses_nothing(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    images, away = world.home / "images", world.home / "away"
    images.rename(away)
    images.mkdir()  # as an empty mount point
    world.later(hours=1)
    world.poll(world.thread(3, C))
    world.fetch()  # and something is put there meanwhile
    report = maintained(world)
    assert report.problem
    assert "2 of 3 pictures are missing" in report.problem
    assert set(world.rows().values()) == {"stored"}
    images.rename(world.home / "underneath")
    away.rename(images)
    dated(world, 30, world.files())
    assert maintained(world).problem is None
    assert world.rows() == {1: "stored", 2: "stored", 3: "missing"}
    assert stored_bytes(world.files()) == {A, B}


@pytest.mark.parametrize("dry_run", [True, False])
def test_half_a_file_that_is_gone_when_it_is_looked_at_is_passed_over(world: PictureWorld, dry_run: bool) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    (world.files()[0].parent / ".tmp-77-abcdef").symlink_to("nowhere")  # listed, but not there
    assert tidied(world, dry_run=dry_run) == TidyReport(0, 0, 0)


def test_a_picture_expires_even_when_its_thread_is_gone_from_the_database(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    with world.database.write() as connection:
        connection.execute("DELETE FROM thread_ops")
    assert expire_pictures(world.database, world.home, world.now + timedelta(days=1)).pictures == 1
    assert world.files() == []


def test_a_picture_that_another_machine_has_is_not_taken_for_lost(either: Database, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    either.migrate()
    for thread_id, home in ((1, mine), (2, mine), (3, other)):
        with either.write() as connection:
            record_picture(connection, thumbnail(home, thread_id, "stored", str(thread_id).encode()))
    lost = tidy_store(either, mine, NOON).lost
    with either.read() as connection:
        rows = dict(connection.execute("SELECT thread_id, status FROM thumbnails").fetchall())
    one_machine = isinstance(either, DatabaseFile)
    assert (lost, rows) == (int(one_machine), {1: "stored", 2: "stored", 3: "missing" if one_machine else "stored"})


def test_machines_share_the_pictures_of_a_folder_to_which_each_has_a_link(lake: Database, tmp_path: Path) -> None:
    mine, other, shared = tmp_path / "mine", tmp_path / "other", tmp_path / "shared"
    lake.migrate()
    for folder in (mine, other, shared):
        folder.mkdir(exist_ok=True)
    for home in (mine, other):
        (home / "images").symlink_to(shared)
    with lake.write() as connection:
        record_picture(connection, thumbnail(other, 1, "stored", b"1"))
    row = thumbnail(mine, 1, "stored", b"1")
    assert row.path
    assert row.sha256
    assert read_regular(mine / row.path) == b"1"
    assert block(lake, mine, row.sha256, "reported", NOON).pictures == 1
    assert not (other / row.path).exists()
