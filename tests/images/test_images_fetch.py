"""The pass over waiting pictures, against real hosts on loopback and a real database."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from hostile import HTML, SVG, WEBM, bomb_in_text, drawn, encoded, frames, refused_unread
from picture_world import PictureWorld, md5_of, stored_bytes
from PIL import Image

from bizcharts_pipeline.board.client import parse_catalog
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.fetch import fetch_pictures
from bizcharts_pipeline.images.nsfw import is_blurred, may_be_sent
from bizcharts_pipeline.settings import ImageSettings
from bizcharts_pipeline.warehouse.pictures import MAX_ATTEMPTS

A, B = encoded(drawn(1), "JPEG"), encoded(drawn(2), "JPEG")


def test_a_thumbnail_is_stored_by_its_content_hash_with_what_is_known_of_it(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    report = world.fetch()
    assert (report.counts, report.warnings, report.problems) == ({"stored": 1}, (), ())
    sha256 = hashlib.sha256(A).hexdigest()
    columns = "status, path, sha256, width, height, bytes, media_type, source, attempts, fetched_at, reason"
    path = f"images/{sha256[:2]}/{sha256[2:4]}/{sha256}.jpg"
    assert world.rows(columns)[1] == (
        ("stored", path, sha256, 120, 90, len(A), "image/jpeg", "live", 1, world.now, None)
    )
    assert (world.home / path).read_bytes() == A
    perceptual_hash, nsfw = world.rows("perceptual_hash, nsfw")[1]
    assert len(perceptual_hash) == 16
    assert nsfw < 0.2
    assert (world.home / "images").stat().st_mode & 0o077 == 0


def test_what_has_a_final_state_is_not_asked_for_again(world: PictureWorld) -> None:
    world.later(hours=1)
    world.poll(world.thread(1, A), world.thread(2, SVG), world.thread(3, thumbnail_url=f"{world.board.url}/biz/3s.jpg"))
    world.fetch()
    asked = len(world.board.asked)
    world.later(hours=30)
    assert world.fetch().counts == {}
    assert len(world.board.asked) == asked


def test_the_newest_pictures_come_first_and_no_more_than_wanted(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, A) for number in range(1, 6)))
    report = world.fetch(per_run=2)
    assert report.more_waiting
    assert world.board.asked == ["/biz/0000000000005s.jpg", "/biz/0000000000004s.jpg"]
    assert not world.fetch(per_run=4).more_waiting
    assert len(world.rows()) == 5


def test_the_same_content_is_one_file_however_many_threads_show_it(world: PictureWorld) -> None:
    world.poll(world.thread(1, A), world.thread(2, A), world.thread(3, B))
    world.fetch()
    assert stored_bytes(world.files()) == {A, B}
    assert len(world.files()) == 2
    paths = world.rows("path")
    assert paths[1] == paths[2] != paths[3]


def test_spoilered_deleted_and_missing_pictures_are_states_and_no_problems(world: PictureWorld) -> None:
    world.later(hours=1)
    world.poll(
        world.thread(1, A, spoiler=True),
        world.thread(2, file_deleted=True),
        world.thread(3, thumbnail_url=f"{world.board.url}/biz/1700000000000s.jpg"),
        world.thread(4, B),
        world.thread(5),
    )
    report = world.fetch()
    assert world.rows() == {1: "spoiler", 2: "deleted", 3: "missing", 4: "stored"}
    assert report.problems == ()
    assert world.board.asked == ["/biz/0000000000004s.jpg", "/biz/1700000000000s.jpg"]


@pytest.mark.slow
def test_every_hostile_file_is_named_and_costs_only_itself(world: PictureWorld) -> None:
    hostile = {**refused_unread(), "a text bomb": (bomb_in_text(), "Decompressed data too large")}
    threads = [world.thread(10 + place, content) for place, (content, _) in enumerate(hostile.values())]
    world.poll(world.thread(1, A), *threads, world.thread(1000, B))
    report = world.fetch()
    assert report.counts == {"stored": 2, "rejected": len(hostile)}
    for place, (name, (_, reason)) in enumerate(hostile.items()):
        named = [problem for problem in report.problems if problem.startswith(f"thread {10 + place} ")]
        assert len(named) == 1, name
        assert reason in named[0]
    assert stored_bytes(world.files()) == {A, B}


def test_a_url_of_another_host_is_a_state_and_never_asked(world: PictureWorld) -> None:
    elsewhere = (
        "https://evil.example/biz/1s.jpg",
        world.archive.url.replace("127.0.0.1", "localhost") + "/x/1s.jpg",
        f"{world.board.url}.evil.example/1s.jpg",
        f"{world.board.url}/../secret/1s.jpg",
        f"{world.board.url}/biz/1s.jpg?x=http://evil.example",
        f"{world.board.url}@evil.example/1s.jpg",
        "file:///etc/passwd",
    )
    world.poll(*(world.thread(number, thumbnail_url=url) for number, url in enumerate(elsewhere, start=1)))
    report = world.fetch()
    assert report.counts == {"foreign": len(elsewhere)}
    assert len(report.problems) == len(elsewhere)
    assert world.board.asked == world.archive.asked == []


def test_a_failure_is_tried_again_later_and_later_and_a_few_times(world: PictureWorld) -> None:
    world.poll(world.thread(1, HTML))
    world.board.put("/biz/0000000000001s.jpg", HTML, "text/html; charset=utf-8")  # a bot check, and says so
    assert world.fetch().counts == {"failed": 1}
    for minutes in (5, 20, 80, 320):
        world.later(minutes=minutes - 1)
        assert world.fetch().counts == {}
        world.later(minutes=1)
        assert world.fetch().counts == {"failed": 1}
    world.later(days=1)
    assert world.fetch().counts == {}
    assert world.rows("status, attempts") == {1: ("failed", MAX_ATTEMPTS)}


@pytest.mark.fault("dropped network", stage="thumbnails", expected="tried again later, and stored")
def test_a_failure_that_heals_ends_stored(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.board.fail_next("truncated", "truncated", "truncated", "truncated")
    assert world.fetch().counts == {"failed": 1}
    world.later(minutes=5)
    assert world.fetch().counts == {"stored": 1}
    assert world.rows("status, attempts, reason") == {1: ("stored", 2, None)}


def test_a_picture_that_the_host_does_not_have_yet_is_asked_for_again_while_its_thread_is_young(
    world: PictureWorld,
) -> None:
    early, never = (world.thread(number, A) for number in (1, 2))
    first = world.board.files.pop("/biz/0000000000001s.jpg")
    world.board.files.pop("/biz/0000000000002s.jpg")
    world.later(minutes=1)
    world.poll(early, never)
    assert world.fetch().counts == {"failed": 2}
    world.board.files["/biz/0000000000001s.jpg"] = first
    world.later(minutes=5)
    assert world.fetch().counts == {"stored": 1, "failed": 1}
    world.later(minutes=20)
    assert world.fetch().counts == {"missing": 1}
    world.later(days=1)
    assert world.fetch().counts == {}


def test_a_host_that_refuses_is_left_alone_at_once(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, A) for number in range(1, 9)))
    world.board.fail_next("403")
    report = world.fetch()
    assert report.counts == {"failed": 1}
    assert len(world.board.asked) == 1
    assert "is skipped for now" in report.warnings[-1]


def test_a_host_that_is_down_is_left_alone_after_a_few_pictures(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, A) for number in range(1, 9)))
    world.board.fail_next(*["500"] * 100)
    assert world.fetch().counts == {"failed": 3}


def test_nobody_is_asked_while_the_host_wants_a_pause(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, A) for number in range(1, 4)))
    world.board.retry_after = "3600"
    world.board.fail_next("429")
    world.fetch()
    asked, attempts = len(world.board.asked), world.rows("attempts")
    world.later(days=1)
    report = world.fetch()
    assert len(world.board.asked) == asked
    assert world.rows("attempts") == attempts
    assert "pause" in report.warnings[-1]


def test_too_large_an_answer_is_refused_unread(world: PictureWorld) -> None:
    world.poll(world.thread(1, A + bytes(1_000_000)))
    assert world.fetch().counts == {"rejected": 1}
    assert "too large: more than 1,000,000 bytes" in world.rows("reason")[1]


def test_archive_pictures_are_fetched_only_when_allowed_and_of_threads_that_live_has_no_picture_of(
    world: PictureWorld,
) -> None:
    url = world.archive.put("/data/biz/thumb/0610/72/1700000000000s.jpg", B)
    world.poll(world.thread(1, A))
    world.import_archived(
        world.thread(2, source="warosu", thumbnail_url=url, posted_at=datetime(2020, 1, 1)),
        world.thread(3, source="warosu", thumbnail_url="https://elsewhere.example/3s.jpg"),
    )
    assert world.fetch().counts == {"stored": 1}
    assert world.archive.asked == []
    assert world.fetch(archive=True, live=False).counts == {"stored": 1, "foreign": 1}
    assert world.rows("status, source") == {1: ("stored", "live"), 2: ("stored", "warosu"), 3: ("foreign", None)}


def test_threads_that_left_the_board_days_ago_are_not_asked_for(world: PictureWorld) -> None:
    world.poll(world.thread(1, A))
    world.later(days=4)
    world.poll(world.thread(2, B))
    world.fetch()
    assert world.rows() == {2: "stored"}


def test_full_pictures_are_of_labelled_posts_alone_and_must_have_the_stated_md5(world: PictureWorld) -> None:
    pictures = {number: encoded(drawn(number, (400, 300)), "PNG") for number in (1, 2, 3)}
    threads = [
        world.thread(number, image_url=world.board.put(f"/biz/{number:013}.png", content), image_md5=md5_of(content))
        for number, content in pictures.items()
    ]
    threads[1] = world.thread(2, image_url=threads[1].image_url, image_md5=md5_of(b"another"))
    threads += [
        world.thread(4, image_url=world.board.put("/biz/0000000000004.webm", WEBM)),
        world.thread(5, image_url=world.board.put("/biz/0000000000005.png", A), image_bytes=1_000_001),
        world.thread(6, image_url=world.board.put("/biz/0000000000006.png", A), image_width=9000, image_height=9000),
    ]
    world.poll(*threads)
    for number in (1, 2, 4, 5, 6):
        world.label(number)
    assert world.fetch().counts == {}
    report = world.fetch(full="labelled")
    assert world.rows(kind="full") == {1: "stored", 2: "rejected", 4: "rejected", 5: "rejected", 6: "rejected"}
    assert sum("MD5" in problem for problem in report.problems) == 1
    assert world.board.asked == ["/biz/0000000000002.png", "/biz/0000000000001.png"]
    assert stored_bytes(world.files()) == {pictures[1]}


def test_labels_that_are_only_in_the_ledger_choose_full_pictures_too(world: PictureWorld) -> None:
    world.poll(*(world.thread(n, image_url=world.board.put(f"/biz/{n:013}.jpg", A)) for n in (1, 2, 3)))
    world.label_in_the_ledger(1)
    world.label_in_the_ledger(2, rating=None)
    assert world.fetch(full="labelled").counts == {"stored": 1}
    assert world.rows(kind="full") == {1: "stored"}


@pytest.mark.parametrize("moment", ["before the file", "between file and row"])
@pytest.mark.fault("SIGKILL", stage="thumbnails", expected="no half picture; the next pass stores it")
def test_a_killed_pass_leaves_no_half_picture_and_repeats_cleanly(world: PictureWorld, moment: str) -> None:
    """The pass runs in a process of its own, which ends itself by SIGKILL at the named moment."""
    world.poll(world.thread(1, A), world.thread(2, B))
    script = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from bizcharts_pipeline.images import fetch, store
from bizcharts_pipeline.settings import ImageSettings
from bizcharts_pipeline.http.session import PoliteSession
from bizcharts_pipeline.images.client import ImageClient
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

home, url, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
put = store.PictureStore.put
def put_and_die(self, *arguments):
    if moment == "between file and row":
        put(self, *arguments)
    else:
        path = self.path(*arguments[:2])
        path.parent.mkdir(parents=True)
        (path.parent / ".tmp-1-00").write_bytes(arguments[2][:100])
    os.kill(os.getpid(), signal.SIGKILL)
store.PictureStore.put = put_and_die
session = PoliteSession(0, rate_folder=home)
client = ImageClient(session, session, board="biz", api_url=url, image_url=url, archive_image_url="http://127.0.0.1:9")
database, now = DatabaseFile(home / "test.duckdb"), datetime.fromisoformat(sys.argv[4])
fetch.fetch_pictures(database, home, client, ImageSettings(), now)
"""
    command = [sys.executable, "-c", script, str(world.home), world.board.url, moment, world.now.isoformat()]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    assert world.rows() == {}
    assert world.fetch().counts == {"stored": 2}
    assert {A, B} <= stored_bytes(world.files())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the decoder in /proc")
def test_a_pass_whose_decoder_is_killed_goes_on(world: PictureWorld) -> None:
    world.poll(*(world.thread(number, encoded(drawn(number), "JPEG")) for number in range(1, 5)))
    killed: list[int] = []

    def kill_once(items, what, total=None):  # type: ignore[no-untyped-def]
        for place, item in enumerate(items):
            if place == 2:
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                killed.extend(int(child) for child in children if _is_decoder(int(child)))
                os.kill(killed[0], signal.SIGKILL)
            yield item

    report = fetch_pictures(world.database, world.home, world.client(), world.settings, world.now, track=kill_once)
    assert killed
    assert (report.counts, report.problems) == ({"stored": 4}, ())


def _is_decoder(pid: int) -> bool:
    return b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.slow
def test_the_simulated_board_gives_every_thread_its_picture_or_its_state(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1)
    simulated = World(5, start, 3)
    with SimulatedBoard(simulated, now=start + timedelta(hours=30)) as board:
        world = PictureWorld(tmp_path, board, board, ImageSettings(), now=board.now)  # type: ignore[arg-type]
        body = json.dumps(simulated.catalog(board.now)).encode()
        threads = parse_catalog(body, board="biz", image_url=board.url).threads
        threads = [*threads[:30], *(thread for thread in threads[30:] if thread.file_deleted or thread.spoiler)]
        world.poll(*threads)
        report = world.fetch()
        states = world.rows()
    assert states == {
        thread.thread_id: "deleted" if thread.file_deleted else "spoiler" if thread.spoiler else "stored"
        for thread in threads
    }
    assert {"stored", "deleted"} <= set(states.values())
    assert report.problems == ()


def test_an_unrated_picture_is_blurred_and_stays_here() -> None:
    settings = ImageSettings()
    assert is_blurred(None, settings)
    assert is_blurred(0.2, settings)
    assert not is_blurred(0.19, settings)
    assert not may_be_sent(None, "stored", settings)
    assert not may_be_sent(0.5, "stored", settings)
    assert may_be_sent(0.49, "stored", settings)
    assert not any(may_be_sent(0.0, status, settings) for status in ("spoiler", "purged", "blocked", "expired"))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_of_an_animation_the_rated_frame_is_all_that_is_kept(world: PictureWorld, kind: str) -> None:
    still, animation = encoded(drawn(0, (40, 30)), kind, lossless=True), frames(kind, 5)
    world.poll(world.thread(1, animation), world.thread(2, still))
    assert world.fetch().counts == {"stored": 2}
    path, sha256 = world.rows("path, sha256")[1]
    kept = (world.home / path).read_bytes()
    assert hashlib.sha256(kept).hexdigest() == sha256
    with Image.open(BytesIO(kept)) as shown, Image.open(BytesIO(animation)) as served:
        assert (getattr(shown, "n_frames", 1), getattr(served, "n_frames", 1)) == (1, 5)
        assert shown.convert("RGB").tobytes() == served.convert("RGB").tobytes()
    assert (world.home / world.rows("path")[2]).read_bytes() == still


def test_a_webp_of_a_still_and_an_animation_is_refused_as_programs_show_different_frames(world: PictureWorld) -> None:
    animation, still = frames("WEBP", 2), encoded(drawn(9, (40, 30)), "WEBP")
    body = animation[12:] + still[12:]
    world.poll(world.thread(1, b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body))
    report = world.fetch()
    assert report.counts == {"rejected": 1}
    assert "several images" in report.problems[0]
