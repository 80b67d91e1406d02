"""Pictures go when they must, and only then: blocked, deleted at the source, expired, orphaned."""

from datetime import timedelta

import pytest
from hostile import drawn, encoded
from picture_world import PictureWorld, md5_of, stored_bytes

from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.images.withdrawal import block, expire_pictures, tidy_store

A, B, C = (encoded(drawn(seed), "JPEG") for seed in (1, 2, 3))
A_AGAIN = encoded(drawn(1).resize((100, 75)), "JPEG", quality=60)  # another file of the same picture


def fates(world: PictureWorld) -> dict[int, str]:
    with world.database.read() as connection:
        return dict(connection.execute("SELECT thread_id, fate FROM thread_fates").fetchall())


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
    world.later(minutes=20)
    world.poll(world.thread(4, C))  # 1, 2 and 3 have left
    world.board.archived = [2]
    report = world.fetch().fates
    assert (report.archived, report.deleted, report.purged_pictures) == (1, 2, 2)
    assert fates(world) == {1: "deleted", 2: "archived", 3: "deleted"}
    assert world.rows() == {1: "purged", 2: "stored", 3: "purged", 4: "stored"}
    assert stored_bytes(world.files()) == {B, C}  # thread 4 still shows C


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
    assert "deleted threads are not known" in report.problems[0]


def test_a_thread_that_comes_back_is_not_deleted_any_more(world: PictureWorld) -> None:
    world.board.archived = [99]
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    world.later(minutes=20)
    world.poll(world.thread(2, B))
    world.fetch()
    assert fates(world) == {1: "deleted"}
    world.later(minutes=20)
    world.poll(world.thread(1, A))
    world.later(minutes=20)
    world.poll(world.thread(1, A))
    world.fetch()
    assert fates(world) == {2: "deleted"}


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


def test_what_no_row_refers_to_is_tidied_away_and_what_is_lost_is_said(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, B))
    world.fetch()
    kept, lost = (world.home / world.rows("path")[number] for number in (1, 2))
    lost.unlink()
    (kept.parent / ".tmp-77-abcdef").write_bytes(b"half")
    orphan = world.home / "images" / "00" / "11" / f"0011{'0' * 60}.png"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    (kept.parent / "notes.txt").write_text("not ours")
    planned = tidy_store(world.database, world.home, dry_run=True)
    assert orphan.exists()
    done = tidy_store(world.database, world.home)
    assert planned == done
    assert (done.orphans, done.bytes, done.lost) == (2, 12, 1)
    assert world.files() == sorted([kept, kept.parent / "notes.txt"])
    assert world.rows("status, reason") == {1: ("stored", None), 2: ("missing", "lost from the store")}
    assert tidy_store(world.database, world.home).orphans == 0


def test_a_picture_expires_even_when_its_thread_is_gone_from_the_database(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.fetch()
    with world.database.write() as connection:
        connection.execute("DELETE FROM thread_ops")
    assert expire_pictures(world.database, world.home, world.now + timedelta(days=1)).pictures == 1
    assert world.files() == []
