"""The simulated archive keeps the rules of the real one, and says nothing that its world does not know."""

import html
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from itertools import chain
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import pytest
import requests
from PIL import Image

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.demo.archive.posts import PLAIN, Quirks
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World

START = datetime(2025, 10, 28)  # New York's clocks go back on 2 November
DAYS = 12
NOW = START + timedelta(days=DAYS)
WORLD = World(7, START, DAYS, threads_per_day=150)
NEW_YORK = ZoneInfo("America/New_York")
FORM = {
    "task": "search2",
    "ghost": "",
    "search_text": "",
    "search_subject": "",
    "search_username": "",
    "search_tripcode": "",
    "search_email": "",
    "search_filename": "",
    "search_datefrom": "",
    "search_dateto": "",
    "search_op": "op",
    "search_del": "dontcare",
    "search_int": "dontcare",
    "search_ord": "new",
    "search_capcode": "all",
    "search_res": "post",
}
GENERATIONS = ["A", "B", "B2023", "C", lambda _, page: ("A", "B", "C")[page % 3]]
NUMBER = re.compile(r'No\.(?:</a><a class="js" href="[^"]*">)?(\d+)(?:,(\d+))?</a>')
TITLE = re.compile(r"posttime\"? title=\"?(\d+)")
STEP = re.compile(r">([+-]\d+)</a>")
REPLY = re.compile(r'<td class="(?:comment )?reply"')
BLOCKQUOTE = re.compile(r"<blockquote>(.*?)</blockquote>", re.DOTALL)
IMAGE = re.compile(r'<a href="?([^" >]+)"?>\s*<img class="?thumb"? src="?([^" >]+)')


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedArchive]:
    """An archive that no test changes."""
    with SimulatedArchive(WORLD, now=NOW) as server:
        yield server


@pytest.fixture
def archive() -> Iterator[SimulatedArchive]:
    with SimulatedArchive(WORLD, now=NOW, quirks=PLAIN) as server:
        yield server


def get(archive: SimulatedArchive, path: str, **fields: Any) -> requests.Response:
    return requests.get(archive.url + path, params=fields or None, timeout=10, allow_redirects=False)


def search(archive: SimulatedArchive, **fields: Any) -> requests.Response:
    return get(archive, "/biz/", **{**FORM, **fields})


def numbers(page: str) -> list[int]:
    return [int(number) for number, _ in NUMBER.findall(page)]


def walk(archive: SimulatedArchive, **fields: Any) -> list[list[int]]:
    """The numbers of each page of a search up to the page without results."""
    pages = []
    while True:
        answer = search(archive, offset=24 * len(pages), **fields)
        assert answer.status_code == 200
        found = numbers(answer.text)
        assert ("No posts found" in answer.text) == (not found)
        if not found:
            return pages
        pages.append(found)


def flat(pages: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(pages))


def threads(begin: datetime, end: datetime) -> set[int]:
    return {thread.thread_id for thread in WORLD.threads_between(begin, end)}


def plain(markup: str) -> str:
    text = re.sub(r"<wbr>|\n", "", markup).replace("<br />", "<br>").replace("<br>", "\n")
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip().replace("\xa0", " ")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_pages_of_a_search_give_every_opening_post_of_a_window(generation: Any) -> None:
    begin, end = START + timedelta(days=2), START + timedelta(days=4)
    with SimulatedArchive(WORLD, now=NOW, generation=generation, clock="UTC") as archive:
        pages = walk(archive, search_datefrom=f"{begin:%Y-%m-%d}", search_dateto=f"{end:%Y-%m-%d}")
        found = {number for page in pages for number in page}
        assert found == threads(begin + timedelta(seconds=1), end)
        assert all(len(page) == 24 for page in pages[:-1])
        days = [archive.ops_of_day(begin.date()), archive.ops_of_day(begin.date() + timedelta(days=1))]
    assert days[0] | days[1] == threads(begin, end)


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_dates_are_midnights_of_the_archives_clock_and_the_last_day_is_left_out(zone: str) -> None:
    with SimulatedArchive(WORLD, now=NOW, clock=zone) as archive:
        for day in (date(2025, 10, 31), date(2025, 11, 2)):  # with New York's offset of 4 and, at its end, 5 hours
            begin, end = (
                datetime(each.year, each.month, each.day, tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)
                for each in (day, day + timedelta(days=1))
            )
            pages = walk(archive, search_datefrom=str(day), search_dateto=str(day + timedelta(days=1)))
            assert {number for page in pages for number in page} == threads(begin + timedelta(seconds=1), end)
            assert walk(archive, search_datefrom=str(day), search_dateto=str(day)) == []


def test_a_post_of_the_first_second_of_a_day_is_outside_of_the_search(archive: SimulatedArchive) -> None:
    opened = WORLD.threads_between(START, NOW)
    first = next(thread for thread in opened if thread.posted_at.date() == date(2025, 11, 5))
    archive.holdings.stored[archive.holdings.position(first.thread_id)] = to_epoch(datetime(2025, 11, 5))
    archive.clock = ZoneInfo("UTC")
    found = walk(archive, search_datefrom="2025-11-05", search_ord="old")[0]
    assert first.thread_id not in found


def test_results_repeat_as_posts_arrive_and_none_is_lost(archive: SimulatedArchive) -> None:
    archive.duplicate_every = 3
    pages = walk(archive)
    repeated = [number for number, times in Counter(flat(pages)).items() if times > 1]
    assert len(repeated) == (len(pages) - 1) // 3
    for number in repeated:
        page = next(index for index, page in enumerate(pages) if number in page)
        assert pages[page][-1] == number == pages[page + 1][0]
    oldest = flat(walk(archive, search_ord="old"))
    assert oldest == sorted(set(oldest)) == sorted(set(flat(pages)))
    assert set(oldest) == threads(START, NOW) | {WORLD.sticky.thread_id}


def test_no_more_than_5000_matches_can_be_seen(shared: SimulatedArchive) -> None:
    last = search(shared, search_op="all", search_ord="old", offset=4992)
    assert (last.status_code, len(numbers(last.text))) == (200, 8)
    for offset in (5000, 5016, 96_000):
        beyond = search(shared, search_op="all", offset=offset)
        assert beyond.status_code == 404
        assert '<div class="error container"><h2>Error!</h2><ul><li>' in beyond.text


def test_the_foot_always_leads_on_and_never_below_nought(shared: SimulatedArchive) -> None:
    onward = ["+24", "+48", "+96"]
    for offset, back in ((0, []), (24, ["-24"]), (72, ["-48", "-24"]), (4800, ["-96", "-48", "-24"])):
        answer = search(shared, offset=offset)
        assert answer.status_code == 200
        assert STEP.findall(answer.text) == back + onward
    assert "No posts found" in answer.text
    link = re.search(r'href="([^"]*)">\+24<', search(shared, search_text="buy", offset=24).text)
    assert link
    following = get(shared, html.unescape(link[1]))
    assert numbers(following.text) == numbers(search(shared, search_text="buy", offset=48).text)
    assert "<h2>Search: buy, offset: 48</h2>" in following.text


def test_the_simple_form_knows_text_and_offset_only(shared: SimulatedArchive) -> None:
    simple = get(shared, "/biz/", task="search", search_subject="none such", search_op="op", search_ord="old")
    everything = search(shared, search_op="all")
    assert numbers(simple.text) == numbers(everything.text)
    assert len(set(numbers(simple.text))) > 0


def test_words_are_alternatives_exclusions_and_phrases(archive: SimulatedArchive) -> None:
    archive.duplicate_every = None

    def words(text: str) -> str:
        return f" {' '.join(re.findall(r'[a-z0-9_]+', plain(text.replace('<br>', ' ')).lower()))} "

    texts = {thread.thread_id: words(thread.html) for thread in [*WORLD.threads_between(START, NOW), WORLD.sticky]}
    wanted = {
        "chainlink": {number for number, text in texts.items() if " chainlink " in text},
        "chainlink|monero": {number for number, text in texts.items() if re.search(" (chainlink|monero) ", text)},
        "chainlink -buy": {n for n, text in texts.items() if " chainlink " in text and " buy " not in text},
        '"all in on" chainlink': {n for n, text in texts.items() if " all in on " in text and " chainlink " in text},
    }
    for query, expected in wanted.items():
        assert expected
        assert set(flat(walk(archive, search_text=query))) == expected, query
    subjects = {each.thread_id for each in WORLD.threads_between(START, NOW) if "general" in str(each.subject).lower()}
    assert subjects
    assert set(flat(walk(archive, search_subject="general"))) == subjects


def test_matching_replies_can_stand_for_their_threads_and_posts_be_found_by_their_maker() -> None:
    quirks = Quirks(named=0.1, capcodes=0.01)
    window = {"search_datefrom": "2025-10-29", "search_dateto": "2025-10-31", "search_op": "all"}
    with SimulatedArchive(WORLD, now=NOW, quirks=quirks, duplicate_every=None) as archive:
        threads_found = flat(walk(archive, **window, search_text="whitepaper", search_res="op"))
        assert len(threads_found) == len(set(threads_found)) > 24
        assert set(threads_found) <= threads(START, NOW)
        page = search(archive, **window, search_username="satoshi").text
        assert (len(numbers(page)), page.count(">Satoshi")) == (24, 24)
        for capcode in ("mod", "dev"):
            page = search(archive, **window, search_capcode=capcode).text
            assert len(numbers(page)) == page.count(f'"postername {capcode}"') > 0
        assert not re.search("postername (mod|admin|dev)", search(archive, **window, search_capcode="normal").text)
        file = archive.opening(threads_found[0]).file
        assert file is not None
        assert flat(walk(archive, search_media_hash=file.md5)) == threads_found[:1]


def test_an_archive_may_find_nothing_without_a_text(archive: SimulatedArchive) -> None:
    archive.empty_text_finds_nothing = True
    assert walk(archive, search_datefrom="2025-10-30", search_dateto="2025-11-01") == []
    assert walk(archive, search_text="bitcoin")


def test_deleted_and_ghost_posts_are_marked_and_can_be_asked_for() -> None:
    with SimulatedArchive(WORLD, now=NOW, quirks=Quirks(deleted=0.3, ghosts=0.5)) as archive:
        for generation in ("A", "B", "C"):
            archive.generation = generation
            deleted = search(archive, search_op="all", search_del="yes", search_int="no").text
            kept = search(archive, search_op="all", search_del="no", search_int="no").text
            assert (deleted.count("[DELETED]"), kept.count("[DELETED]")) == (24, 0)
            ghosts = search(archive, search_op="all", search_int="yes").text
            assert ghosts.count("[INTERNAL]") == 24
            assert [ghost for _, ghost in NUMBER.findall(ghosts)] == ["1"] * 24
            assert len(re.findall(r'<td class="(?:comment )?subreply"', ghosts)) == 24
            assert "[INTERNAL]" not in kept
            assert not any(ghost for _, ghost in NUMBER.findall(search(archive).text))
        number = int(NUMBER.findall(ghosts)[0][0])
        place = re.search(rf"/biz/thread/(\d+)#p{number}_1", ghosts)
        assert place
        assert f'id="p{number}_1"' in get(archive, f"/biz/thread/{place[1]}").text
        assert "[STICKY]" in search(archive, search_ord="old").text


@pytest.mark.parametrize("generation", ["A", "B", "C"])
def test_a_threads_page_has_its_text_its_time_and_every_reply(archive: SimulatedArchive, generation: Any) -> None:
    archive.generation = generation
    for thread in WORLD.threads_between(START, START + timedelta(hours=8)):
        page = get(archive, f"/biz/thread/{thread.thread_id}").text
        assert len(REPLY.findall(page)) == archive.replies(thread.thread_id) == thread.final_replies
        assert numbers(page)[0] == thread.thread_id
        assert len(set(numbers(page))) == thread.final_replies + 1
        times = [int(title) for title in TITLE.findall(page)]
        assert times == sorted(times)
        assert times[0] == to_epoch(thread.posted_at) * 1000 == to_epoch(archive.posted_at(thread.thread_id)) * 1000
        assert plain(BLOCKQUOTE.findall(page)[0]) == plain(thread.html)
        subject = re.search(r"<span class=\"?filetitle[^>]*>(.*?)</span>", page)
        assert (subject and html.unescape(subject[1])) == thread.subject_text


@pytest.mark.parametrize("generation", ["A", "B", "C"])
def test_quotes_greentext_spoilers_and_links_are_marked_as_the_archive_marks_them(
    archive: SimulatedArchive, generation: Any
) -> None:
    archive.generation = generation
    expected, found = Counter[str](), Counter[str]()
    for thread in WORLD.threads_between(START, START + timedelta(days=3))[::5]:
        text = get(archive, f"/biz/thread/{thread.thread_id}").text.replace('"', "")
        opening, *replies = BLOCKQUOTE.findall(text)
        expected["backlink"] += len(replies) // 3
        found["backlink"] += len(re.findall(rf"(?=.*class=backlink)<a [^>]*href=#p{thread.thread_id}[ >]", text))
        expected["post"] += thread.html.count("quotelink")
        found["post"] += len(re.findall(r"<a href=/biz/post/\d+>&gt;&gt;\d+</a>", opening))
        for live, theirs in (
            ('class="quote"', "class=unkfunc>&gt;"),
            ("<s>", "<span class=spoiler>"),
            ("http", "<a href=http"),
        ):
            expected[live] += thread.html.count(live)
            found[live] += opening.count(theirs)
        assert "<wbr>" not in text
    assert found == expected
    assert min(expected.values()) > 0


def test_the_visible_time_is_new_yorks_in_a_and_utc_in_b(archive: SimulatedArchive) -> None:
    thread = next(t for t in WORLD.threads_between(datetime(2025, 11, 3, 6), NOW))
    local = thread.posted_at - timedelta(hours=5)
    shown = {
        "A": f"{local:%a %b} {local.day} {local:%H:%M:%S %Y}",
        "B": f"{thread.posted_at:%a, %b} {thread.posted_at.day}, {thread.posted_at:%Y %H:%M:%S}",
    }
    for archive.generation, text in shown.items():
        assert text in get(archive, f"/biz/thread/{thread.thread_id}").text


def test_replies_are_those_that_the_live_board_showed(archive: SimulatedArchive) -> None:
    archive.now = START + timedelta(days=3)
    same = Counter[bool]()
    for page in WORLD.catalog(archive.now)[2:5]:
        for entry in page["threads"]:
            text = get(archive, f"/biz/thread/{entry['no']}").text
            assert len(REPLY.findall(text)) == entry["replies"]
            live = entry.get("last_replies", [])
            last = list(zip(numbers(text), BLOCKQUOTE.findall(text), strict=True))[1:][-5:]
            assert [plain(markup) for _, markup in last] == [plain(reply["com"]) for reply in live]
            same.update(number == reply["no"] for (number, _), reply in zip(last, live, strict=True))
    assert same[True] > 20 * same[False]  # where two replies share a second the archive's number is the next


def test_some_threads_lack_their_opening_post_though_the_search_has_it() -> None:
    with SimulatedArchive(WORLD, now=NOW, quirks=Quirks(threads_without_op=0.3)) as archive:
        found = flat(walk(archive, search_dateto="2025-10-30"))
        lacking = 0
        for number in found[:60]:
            page = get(archive, f"/biz/thread/{number}").text
            lacking += f"id=p{number}>" not in page
        assert 5 < lacking < 40


def test_threads_that_the_archive_never_saw_are_nowhere() -> None:
    with SimulatedArchive(WORLD, now=NOW, clock="UTC", quirks=Quirks(archived_share=0.6)) as archive:
        held = archive.ops_of_day(date(2025, 10, 30))
        everything = threads(datetime(2025, 10, 30), datetime(2025, 10, 31))
        assert held < everything
        assert 0.45 < len(held) / len(everything) < 0.75
        pages = walk(archive, search_datefrom="2025-10-30", search_dateto="2025-10-31")
        assert set(flat(pages)) == held
        assert get(archive, f"/biz/thread/{min(everything - held)}").status_code == 404
        deleted = set(flat(walk(archive, search_del="yes")))
        with SimulatedArchive(WORLD, now=NOW) as whole:
            assert {
                number for number in flat(walk(whole, search_del="yes")) if number in archive.holdings.place
            } == deleted
        with pytest.raises(KeyError):
            archive.posted_at(min(everything - held))


@pytest.mark.parametrize("order", ["thread", "bump"])
@pytest.mark.parametrize("generation", ["A", "B", "C"])
def test_the_index_has_ten_threads_a_page_and_the_number_of_replies(order: Any, generation: Any) -> None:
    with SimulatedArchive(WORLD, now=NOW, order=order, generation=generation, quirks=PLAIN) as archive:
        seen: list[int] = []
        latest = []
        for page in range(1, 6):
            text = get(archive, "/biz/", task="page", page=page).text
            assert text == get(archive, f"/biz/page/{page}").text
            blocks = re.split(r"<br class=\"?newthr\"?(?: /)?><hr(?: /)?>", text)[:-1]
            assert len(blocks) == 10
            for block in blocks:
                opening = numbers(block)[0]
                omitted = re.search(r"omittedposts\"?>(\d+) repl", block)
                shown = len(REPLY.findall(block))
                assert shown <= 5
                assert shown + int(omitted[1] if omitted else 0) == archive.replies(opening)
                seen.append(opening)
                latest.append(max(map(int, TITLE.findall(block))))
        if order == "thread":
            assert seen == sorted(threads(START, NOW), reverse=True)[:50]
        else:
            assert latest == sorted(latest, reverse=True)
        past = get(archive, "/biz/page/9999")
        assert (past.status_code, numbers(past.text)) == (200, [])
        assert re.search(r"<div class=\"?content\"?>", past.text)


def test_what_is_not_there_is_fuukas_error_and_a_post_leads_to_its_thread(archive: SimulatedArchive) -> None:
    thread = next(each for each in WORLD.threads_between(START, NOW) if each.final_replies > 60)
    page = get(archive, f"/biz/thread/{thread.thread_id}").text
    reply = numbers(page)[-1]
    answer = get(archive, f"/biz/post/{reply}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/biz/thread/{thread.thread_id}#p{reply}")
    assert get(archive, f"/biz/post/{thread.thread_id}").headers["Location"] == f"/biz/thread/{thread.thread_id}"
    assert numbers(get(archive, f"/biz/last50/{thread.thread_id}").text)[1:] == numbers(page)[-50:]
    assert numbers(get(archive, f"/biz/thread/S{thread.thread_id}").text) == numbers(page)
    for path in ("thread/1", "thread/abc", "post/x", "post/3", f"post/{'9' * 5000}", f"thread/{reply}", "last50/1"):
        answer = get(archive, f"/biz/{path}")
        assert answer.status_code == 404
        assert '<div class="error container"><h2>Error!</h2><ul><li>' in answer.text


def test_an_era_of_wrong_times_is_new_yorks_clock_taken_for_utc_and_stems_stay_true() -> None:
    change, before, after = datetime(2025, 11, 2, 6), datetime(2025, 10, 30), datetime(2025, 11, 4)
    quirks = replace(PLAIN, wrong_times_before=datetime(2025, 11, 6))
    with SimulatedArchive(WORLD, now=NOW, clock="UTC", quirks=quirks) as archive:
        for begin, hours in ((before, 4), (after, 5)):
            assert (begin < change) == (hours == 4)
            end = begin + timedelta(days=1)
            pages = walk(archive, search_datefrom=f"{begin:%Y-%m-%d}", search_dateto=f"{end:%Y-%m-%d}")
            offset = timedelta(hours=hours)
            assert set(flat(pages)) == threads(begin + offset + timedelta(seconds=1), end + offset)
            thread = WORLD.threads_between(begin, end)[40]
            page = get(archive, f"/biz/thread/{thread.thread_id}").text
            assert int(TITLE.findall(page)[0]) == (to_epoch(thread.posted_at) - 3600 * hours) * 1000
            assert archive.posted_at(thread.thread_id) == thread.posted_at
            stem = re.search(r"/img/\d{4}/\d\d/(\d+)", page)
            assert stem
            assert int(stem[1][:10]) == to_epoch(thread.posted_at)
        right = WORLD.threads_between(datetime(2025, 11, 6), NOW)[0]
        page = get(archive, f"/biz/thread/{right.thread_id}").text
        assert int(TITLE.findall(page)[0]) == to_epoch(right.posted_at) * 1000


@pytest.mark.parametrize("generation", ["A", "B", "B2023", "C"])
def test_pictures_lie_where_the_pages_say(generation: Any) -> None:
    quirks = Quirks(
        short_stems_before=START + timedelta(days=1), removed_files=0, foreign_files=0, missing_thumbnails=0
    )
    with SimulatedArchive(WORLD, now=NOW, generation=generation, quirks=quirks) as archive:
        for day, digits in ((0, 13), (2, 16)):
            opened = WORLD.threads_between(START + timedelta(days=day), START + timedelta(days=day, hours=12))
            thread = next(each for each in opened if each.final_images > 0 and not each.file_deleted_at)
            page = get(archive, f"/biz/thread/{thread.thread_id}").text
            found = IMAGE.findall(page)
            assert len(found) == thread.final_images + 1
            for full, thumbnail in (found[0], found[-1]):
                path = f"/data/biz/img/{thread.thread_id:09d}"[: len("/data/biz/img/0600")]
                assert path in full
                assert len(re.sub(r".*/|\..*", "", full)) == digits
                picture = requests.get(urljoin(archive.url, full), timeout=10)
                assert Image.open(BytesIO(picture.content)).size == (thread.width, thread.height)
                small = requests.get(urljoin(archive.url, thumbnail), timeout=10)
                assert max(Image.open(BytesIO(small.content)).size) == 250
                elsewhere = re.sub(r"/(\d{4})/(\d\d)/", r"/\1/99/", urljoin(archive.url, full))
                assert requests.get(elsewhere, timeout=10).status_code == 404


def test_files_may_be_gone_elsewhere_or_without_a_thumbnail(archive: SimulatedArchive) -> None:
    thread = WORLD.threads_between(START, NOW)[5]
    for quirks, sign, thumbs in (
        (Quirks(removed_files=1), "File: ", 0),
        (Quirks(removed_files=0, foreign_files=1), "https://i.4cdn.org/biz/", 1),
        (Quirks(removed_files=0, foreign_files=0, missing_thumbnails=1), "nothumb", 0),
    ):
        with SimulatedArchive(WORLD, now=NOW, quirks=quirks) as server:
            page = get(server, f"/biz/last50/{thread.thread_id}").text.split("</blockquote>")[0]
            assert sign in page
            assert page.count("class=thumb") == thumbs
            assert (" href=" in page.split("File: ")[1].split("<blockquote")[0].split("<span")[0]) == (sign != "File: ")
    deleted = next(each for each in WORLD.threads_between(START, NOW) if each.file_deleted_at)
    page = get(archive, f"/biz/thread/{deleted.thread_id}").text.split("</blockquote>")[0]
    assert "File: " in page
    assert "/data/" not in page
    assert requests.get(f"{archive.url}/data/biz/img/0600/00/{deleted.tim}.jpg", timeout=10).status_code == 404


@pytest.mark.parametrize("generation", ["A", "B", "C"])
def test_names_trips_addresses_and_commas_are_as_the_archive_writes_them(generation: Any) -> None:
    quirks = Quirks(named=1, trips=1, mails=1, capcodes=1, comma_names=1, hidden_addresses=1, removed_files=0)
    with SimulatedArchive(WORLD, now=NOW, generation=generation, quirks=quirks) as archive:
        thread = next(each for each in WORLD.threads_between(START, NOW) if each.final_images > 3)
        page = get(archive, f"/biz/thread/{thread.thread_id}").text
    shown = thread.final_replies
    assert len(re.findall(r"postertrip[^>]*>(?:<a [^>]*>)?&nbsp;!", page)) in (shown, shown + 1)
    assert re.search(r"href=\"?mailto:(sage|noko)", page)
    assert "@" not in re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    assert page.count("[email&#160;protected]") == page.count("data-cfemail=") == shown + 1
    key, *coded = bytes.fromhex(str(re.findall(r'data-cfemail="(\w+)"', page)[0]))
    assert bytes(byte ^ key for byte in coded).decode() == "desk@charts.example"
    assert re.search(r"File: [\d.]+ (?:B|KB|MB), \d+x\d+, \w+, \d+\.(?:jpg|png)<", page)
    assert re.search(r"postername (?:mod|admin|dev)", page)
    assert re.search(r"##(?:Mod|Admin|Developer)", page)


def test_what_is_yet_to_come_is_not_there_and_comes(archive: SimulatedArchive) -> None:
    coming = WORLD.threads_between(NOW, NOW + timedelta(days=5))[0]
    path = f"/biz/thread/{coming.thread_id}"
    picture = f"/data/biz/thumb/{coming.thread_id:09d}"
    picture = f"{picture[:-5]}/{picture[-5:-3]}/{coming.tim}s.jpg"
    assert [get(archive, each).status_code for each in (path, picture)] == [404, 404]
    assert coming.thread_id not in archive.ops_of_day(coming.posted_at.date())
    archive.now = coming.posted_at + timedelta(days=4)
    assert [get(archive, each).status_code for each in (path, picture)] == [200, 200]
    assert coming.thread_id in archive.ops_of_day(coming.posted_at.date())


def test_the_same_world_gives_the_same_pages_whatever_was_asked_before(shared: SimulatedArchive) -> None:
    thread = WORLD.threads_between(START, NOW)[77].thread_id
    queries = [f"/biz/thread/{thread}", "/biz/page/3", "/biz/?task=search2&search_op=all&offset=48"]
    with SimulatedArchive(World(7, START, DAYS, threads_per_day=150), now=NOW) as other:
        for path in queries:
            there = get(other, path).text.replace(other.url, "")
            assert there == get(shared, path).text.replace(shared.url, "")
        other.now = NOW + timedelta(days=4)
        later = get(other, f"/biz/thread/{thread}").text.replace(other.url, "")
        assert later == get(shared, f"/biz/thread/{thread}").text.replace(shared.url, "")


def test_many_readers_at_once_get_what_one_gets(shared: SimulatedArchive) -> None:
    asked = [{"search_op": kind, "offset": 24 * page} for page in range(20) for kind in ("op", "all")]
    with SimulatedArchive(WORLD, now=NOW) as other, ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda fields: numbers(search(other, **fields).text), asked))
    assert together == [numbers(search(shared, **fields).text) for fields in asked]


def test_faults_of_the_archive_look_as_they_do_out_there(archive: SimulatedArchive) -> None:
    archive.retry_after = "7"
    faults = {
        "cloudflare 403": (403, "<title>Attention Required! | Cloudflare</title>", None),
        "cloudflare 429": (429, "<title>Just a moment...</title>", "7"),
        "cloudflare 503": (503, "<title>Just a moment...</title>", "7"),
        "cloudflare 200": (200, "<title>Just a moment...</title>", None),
        "fuuka error": (404, '<div class="error container"><h2>Error!</h2>', None),
        "new layout": (200, "<main", None),
        "empty": (200, "", None),
    }
    archive.fail_next(*faults)
    for name, (status, sign, retry) in faults.items():
        answer = search(archive)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry), name
        assert sign in answer.text
        assert not re.search(r"<div class=\"?content\"?>|No posts found", answer.text)
        assert (answer.text == "") == (name == "empty")
    assert numbers(search(archive).text)
    assert [record.status for record in archive.requests] == [403, 429, 503, 200, 404, 200, 200, 200]


def test_a_share_of_requests_fails_and_times_of_outage_do(archive: SimulatedArchive) -> None:
    archive.fail_every, archive.fail_with = 4, Fault.CLOUDFLARE_CHALLENGE
    assert [search(archive).status_code for _ in range(8)] == [200, 200, 200, 503] * 2
    archive.fail_every = None
    archive.outages = [(NOW - timedelta(hours=1), NOW + timedelta(hours=1))]
    assert search(archive).status_code == 503
    archive.outages = []
    archive.downtimes = [(time.monotonic() - 1, time.monotonic() + 3600)]
    assert search(archive).status_code == 503
    archive.downtimes = []
    archive.enforce_seconds = 3600
    assert search(archive).status_code == 429
    archive.enforce_seconds = None
    archive.latency_seconds = 60
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{archive.url}/biz/", timeout=0.2)
