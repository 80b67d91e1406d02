"""The catalogue's parser against real captures, and against everything that could come instead of one."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.board import client as fourchan
from bizcharts_pipeline.board.client import Catalog, parse_catalog
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.http import fields
from bizcharts_pipeline.http.errors import CatalogFormatError

FIRST, SECOND = "g_catalog_2014-05-02T185604Z.json", "g_catalog_2014-05-02T185755Z.json"
START = datetime(2026, 1, 1)
POSTED = 1_700_000_000
FLAGS = ("sticky", "closed", "spoiler", "filedeleted", "bumplimit", "imagelimit")
PAGES = World(11, START, 10).catalog(datetime(2026, 1, 5, 12))


def parse(value: Any, board: str = "biz") -> Catalog:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_catalog(body, board=board, image_url="https://i.example")


def capture(folder: Path, name: str) -> bytes:
    return (folder / "4chan_api" / name).read_bytes()


def one(**fields: Any) -> Catalog:
    entry = {"no": 1, "time": POSTED, "resto": 0, **fields}
    return parse([{"page": 1, "threads": [{"no": 2, "time": POSTED}, entry]}])


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "threads", "subjects", "pictures", "texts"),
    [
        ("g_catalog_2014-04-30T081746Z.json", 150, 31, 150, 148),
        (FIRST, 150, 34, 149, 147),
        (SECOND, 150, 35, 149, 147),
        ("po_catalog_2020_pages01-05.json", 75, 41, 75, 74),
        ("a_catalog_excerpt_2013.json", 2, 0, 2, 2),
    ],
)
def test_every_capture_is_read_whole(
    shared_data: Path, name: str, threads: int, subjects: int, pictures: int, texts: int
) -> None:
    catalog = parse(capture(shared_data, name))
    assert (len(catalog.threads), catalog.problems, catalog.rejected) == (threads, (), 0)
    assert sum(thread.subject is not None for thread in catalog.threads) == subjects
    assert sum(thread.image_url is not None for thread in catalog.threads) == pictures
    assert sum(thread.op_html is not None for thread in catalog.threads) == texts


def test_a_thread_of_2014_has_all_its_fields(shared_data: Path) -> None:
    threads = {thread.thread_id: thread for thread in parse(capture(shared_data, FIRST), "g").threads}
    served = {entry["no"]: entry for page in json.loads(capture(shared_data, FIRST)) for entry in page["threads"]}
    thread = threads[41705152]
    assert (thread.posted_at, thread.source) == (datetime(2014, 5, 2, 16, 18, 37), "live")
    assert (thread.reply_count, thread.image_count, thread.page, thread.position) == (74, 19, 1, 2)
    assert thread.image_url == "https://i.example/g/1399047517101.jpg"
    assert thread.thumbnail_url == "https://i.example/g/1399047517101s.jpg"
    assert (thread.image_md5, thread.image_filename) == ("eh4yP6MICHzvLy8/C2g0nw==", "benq")
    assert (thread.image_width, thread.image_height, thread.image_bytes) == (1125, 1500, 71502)
    assert thread.op_html == served[41705152]["com"]
    assert thread.subject is None
    flags = (thread.sticky, thread.closed, thread.spoiler, thread.file_deleted, thread.bump_limit_reached)
    assert not any(flags)
    assert thread.extra == {key: served[41705152][key] for key in ("tn_w", "tn_h", "semantic_url")}

    sticky = threads[39894014]
    assert (sticky.sticky, sticky.closed, sticky.capcode, sticky.position) == (True, True, "mod", 1)
    deleted = threads[41704616]
    assert (deleted.file_deleted, deleted.image_url, deleted.thumbnail_url, deleted.op_html) == (
        True,
        None,
        None,
        None,
    )
    assert (deleted.subject, deleted.reply_count) == (served[41704616]["sub"], 82)


def test_threads_of_2013_and_2020_have_all_their_fields(shared_data: Path) -> None:
    old = parse(capture(shared_data, "a_catalog_excerpt_2013.json"), "a").threads[1]
    assert (old.thread_id, old.posted_at, old.page) == (79154415, datetime(2013, 1, 28, 20, 12, 28), 0)
    assert (old.reply_count, old.image_count, old.bump_limit_reached) == (41, 12, False)
    assert old.extra == {"tn_w": 250, "tn_h": 140, "custom_spoiler": 1}
    new = parse(capture(shared_data, "po_catalog_2020_pages01-05.json"), "po").threads[0]
    assert (new.thread_id, new.sticky, new.extra["last_modified"]) == (570368, True, 1546294897)
    assert new.image_url == "https://i.example/po/1546293948883.png"


def test_two_catalogues_111_seconds_apart_share_149_threads_of_which_18_grew(shared_data: Path) -> None:
    before = {thread.thread_id: thread for thread in parse(capture(shared_data, FIRST)).threads}
    after = {thread.thread_id: thread for thread in parse(capture(shared_data, SECOND)).threads}
    shared = before.keys() & after.keys()
    assert len(shared) == 149
    assert sum(before[number].reply_count != after[number].reply_count for number in shared) == 18


def test_subjects_are_plain_text_of_one_line(shared_data: Path) -> None:
    served = one(sub="<b>A</b> &quot;B&quot;<wbr>C &lt;D&gt;\u202e\x00\x07\n  E &#039;F&amp;lt;").threads[1]
    assert served.subject == 'A "B"C <D> E \'F&lt;'
    subjects = [thread.subject for thread in parse(capture(shared_data, FIRST)).threads if thread.subject]
    assert not any("&quot;" in subject or "&amp;" in subject for subject in subjects)


def test_nothing_about_the_poster_and_nothing_redundant_is_kept_and_nothing_unknown_is_lost() -> None:
    personal = dict.fromkeys(fourchan.PERSONAL_FIELDS, "who")
    redundant = dict.fromkeys(fourchan.REDUNDANT_FIELDS - {"resto"}, 1)
    thread = one(**personal, **redundant, unique_ips=7, new_field={"a": [None, 1.5]}).threads[1]
    assert thread.extra == {"unique_ips": 7, "new_field": {"a": [None, 1.5]}}
    assert "who" not in str(thread)


def test_old_files_with_empty_strings_and_zero_flags_are_read() -> None:
    keys = [
        "sub",
        "com",
        "filename",
        "ext",
        "md5",
        "tim",
        "w",
        "h",
        "fsize",
        "tn_w",
        "trip",
        "capcode",
        "email",
    ]
    keys += ["closed", "sticky", "spoiler", "filedeleted"]
    thread = one(**dict.fromkeys(keys, ""), bumplimit=0, imagelimit=1, replies="12").threads[1]
    assert (thread.subject, thread.op_html, thread.image_url, thread.capcode) == (None, None, None, None)
    assert (thread.sticky, thread.bump_limit_reached, thread.image_limit_reached) == (False, False, True)
    assert thread.reply_count == 12
    assert not one(sticky=0).threads[1].sticky


@pytest.mark.parametrize("tim", [1399047517101, 1764547200123456, "1399047517101"])
def test_picture_addresses_are_made_of_13_and_16_digit_names(tim: int | str) -> None:
    thread = one(tim=tim, ext=".webm").threads[1]
    assert (thread.image_url, thread.thumbnail_url) == (
        f"https://i.example/biz/{tim}.webm",
        f"https://i.example/biz/{tim}s.jpg",
    )


@pytest.mark.parametrize(
    "picture",
    [
        {"tim": 1399047517101, "ext": "/../../x"},
        {"tim": 1399047517101, "ext": ".jpg?x=1"},
        {"tim": 1399047517101},
        {"tim": "../1399047517101", "ext": ".jpg"},
        {"tim": -1399047517101, "ext": ".jpg"},
        {"tim": True, "ext": ".jpg"},
        {"tim": 1399047517101, "ext": ".jpg", "md5": "<script>"},
        {"tim": 1399047517101, "ext": ".jpg", "w": 2**31},
    ],
)
def test_a_bad_picture_costs_the_picture_and_not_the_thread(picture: dict[str, Any]) -> None:
    catalog = one(com="text", **picture)
    assert [thread.thread_id for thread in catalog.threads] == [2, 1]
    assert (catalog.threads[1].op_html, catalog.threads[1].image_url, catalog.rejected) == ("text", None, 0)
    assert len(catalog.problems) == 1
    assert "picture left out" in catalog.problems[0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"no": None}, "no is missing"),
        ({"no": True}, "no is a truth value"),
        ({"no": 2**63}, "no is out of range"),
        ({"no": 0}, "no is out of range"),
        ({"no": 2}, "duplicate"),
        ({"time": None}, "time is missing"),
        ({"time": 2**60}, "out of range"),
        ({"time": 1_064_966_399}, "is before 2003-10-01"),
        ({"time": 0}, "time is out of range"),
        ({"time": 1.7e9}, "time is a fraction"),
        ({"time": float("nan")}, "time is a fraction"),
        ({"resto": 7}, "a reply"),
    ],
)
def test_a_bad_thread_costs_only_itself_and_is_named(fields: dict[str, Any], named: str) -> None:
    catalog = one(**fields)
    assert [thread.thread_id for thread in catalog.threads] == [2]
    assert (len(catalog.problems), catalog.rejected) == (1, 1)
    assert named in catalog.problems[0]
    assert catalog.problems[0].startswith("page 1, thread 2 (no ")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"com": 7}, "com is a whole number"),
        ({"sub": ["a"]}, "sub is an array"),
        ({"capcode": {"a": 1}}, "capcode is an object"),
        ({"replies": "many"}, "replies is a text"),
        ({"replies": -1}, "replies is out of range"),
        ({"images": False}, "images is a truth value"),
        *[({flag: [1]}, f"{flag} is an array") for flag in FLAGS],
        ({"unknown": float("inf")}, "'unknown' has inf, which is not valid JSON"),
        ({"unknown": nested(21)}, "'unknown' is nested more than 20 levels deep"),
        ({"unknown": nested(495)}, "'unknown' is nested more than 20 levels deep"),
    ],
)
def test_a_bad_optional_field_costs_only_itself_and_is_named(fields: dict[str, Any], named: str) -> None:
    others = {"sub": "s", "com": "c", "capcode": "mod", "replies": 3, "images": 2, "known": None}
    catalog = one(**others | fields)
    without = one(**{key: value for key, value in others.items() if key not in fields})
    assert catalog.threads == without.threads
    assert (len(catalog.threads), catalog.rejected, len(catalog.problems)) == (2, 0, 1)
    assert catalog.problems[0].startswith(f"page 1, thread 2 (no 1): left out: {named}")


def test_flags_may_be_json_truth_values_and_fields_nested_20_levels_deep() -> None:
    catalog = one(**dict.fromkeys(FLAGS, True), unknown=nested(20))
    thread = catalog.threads[1]
    assert catalog.problems == ()
    assert thread.extra == {"unknown": nested(20)}
    assert (thread.sticky, thread.closed, thread.spoiler, thread.file_deleted) == (True,) * 4
    assert (thread.bump_limit_reached, thread.image_limit_reached) == (True, True)
    assert one(**dict.fromkeys(FLAGS, False)) == one()


def test_a_bad_byte_costs_one_character_and_is_named() -> None:
    threads = [{"no": 1, "time": POSTED, "com": "caf@"}, {"no": 2, "time": POSTED, "com": "caf\u00e9"}]
    body = json.dumps([{"page": 1, "threads": threads}], ensure_ascii=False).encode().replace(b"@", b"\xe9")
    catalog = parse(body)
    assert [thread.op_html for thread in catalog.threads] == ["caf\ufffd", "caf\u00e9"]
    assert catalog.rejected == 0
    place = body.index(b"\xe9")
    assert catalog.problems == (f"not UTF-8 at byte {place}: read with replacement characters",)


def test_the_first_second_of_the_site_is_a_time() -> None:
    assert one(time=1_064_966_400).threads[1].posted_at == datetime(2003, 10, 1)


def test_an_integer_too_long_for_python_costs_only_its_thread() -> None:
    body = b'[{"page": 1, "threads": [{"no": 2, "time": %d}, {"no": 1%b}]}]' % (POSTED, b"0" * 5000)
    catalog = parse(body)
    assert ([thread.thread_id for thread in catalog.threads], catalog.rejected) == ([2], 1)


def test_oversized_texts_are_cut_and_half_characters_replaced() -> None:
    catalog = one(
        sub="s" * 5000,
        com="c" * 200_000,
        filename="f" * 999,
        tim=1399047517101,
        ext=".png",
        blob="x" * 20_000,
    )
    thread = catalog.threads[1]
    assert (len(thread.subject or ""), len(thread.op_html or "")) == (1000, 100_000)
    assert (len(thread.image_filename or ""), thread.extra) == (255, {})
    assert len(catalog.problems) == 4
    odd = one(sub="a\ud83d", com="b\udc00\x00", note=["\ud800"], filename="\ud800").threads[1]
    assert (odd.subject, odd.op_html, odd.extra) == ("a\ufffd", "b\ufffd", {"note": ["\ufffd"]})


def test_problems_are_bounded_in_number_and_length() -> None:
    entries: list[Any] = [{"no": 1, "time": POSTED}] + [{"no": "x" * 8_000, "time": POSTED}] * 500
    catalog = parse([{"page": 1, "threads": entries}])
    assert (len(catalog.threads), catalog.rejected, len(catalog.problems)) == (
        1,
        500,
        fields.MAX_PROBLEMS + 1,
    )
    assert max(map(len, catalog.problems)) <= fields.PROBLEM_MAX_CHARACTERS


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>Just a moment...</title>", "an HTML page"),
        (json.dumps(PAGES).encode()[:50_000], "not JSON"),
        (b'{"threads": []}', "an object, not an array"),
        (b"null", "null, not an array"),
        (b"[]", "it is empty"),
        (b'[{"page": 1, "threads": []}]', "it is empty"),
        (b'[{"page": 1, "threads": [1, 2, 3]}]', "none of its 3 entries"),
        (b'[{"page": 1}]', "none of its 1 entries"),
        (b"[\xff\xfe]", "not JSON"),
        (b'[{"page": 1, "threads": ["\xff"]}]', "none of its 1 entries can be read; not UTF-8 at byte 26"),
        (b"[" * 200_000, "nested too deeply"),
        (b'[{"a":' * 200_000, "nested too deeply"),
        (b"\x1f\x8b\x08\x00garbage", "not JSON"),
    ],
)
def test_a_body_that_is_no_catalogue_is_one_clear_error(body: bytes, named: str) -> None:
    with pytest.raises(CatalogFormatError) as caught:
        parse(body)
    assert named in str(caught.value)
    assert f"{len(body):,} bytes" in str(caught.value)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 600


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["no", "time", "com", "threads", "page", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(
    JSON_VALUES | st.lists(st.fixed_dictionaries({"page": JSON_VALUES, "threads": st.lists(JSON_VALUES, max_size=4)}))
)
@settings(max_examples=300)
def test_any_json_is_a_catalogue_or_a_format_error(value: Any) -> None:
    try:
        catalog = parse(value)
    except CatalogFormatError:
        return
    assert parse(value) == catalog


@given(st.binary(max_size=200))
def test_any_bytes_are_a_catalogue_or_a_format_error(body: bytes) -> None:
    try:
        parse(body)
    except CatalogFormatError:
        return


BASELINE = parse(PAGES)
FIELDS = sorted({key for page in PAGES for entry in page["threads"] for key in entry})


@pytest.mark.slow
@given(
    place=st.integers(0, 149),
    corruption=st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, min_size=1, max_size=5) | JSON_VALUES,
)
@settings(max_examples=150)
def test_one_corrupted_thread_among_150_costs_at_most_itself(place: int, corruption: Any) -> None:
    entries = [entry for page in PAGES for entry in page["threads"]]
    broken = entries[place] | corruption if isinstance(corruption, dict) else corruption
    pages = [
        page | {"threads": [broken if entry is entries[place] else entry for entry in page["threads"]]}
        for page in PAGES
    ]
    catalog = parse(pages)
    others = [thread for index, thread in enumerate(BASELINE.threads) if index != place]
    found = [thread for thread in catalog.threads if thread in others]
    assert found == others
    assert len(catalog.threads) + catalog.rejected == 150
    assert len(catalog.threads) >= 149
