"""The archive's reader against a real page, every quirk of its markup, and everything that could come instead."""

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from archive.warosu_samples import (
    GENERATIONS,
    HOST,
    MS,
    STEM,
    Generation,
    cell,
    document,
    index,
    op,
    picture,
    results,
    sample,
    thread,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.archive import markup as warosu_markup
from bizcharts_pipeline.archive.markup import (
    ArchivedFile,
    ArchivedPost,
    ArchiveFormatError,
    ArchivePage,
    Counts,
    parse_page,
)
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import MAX_PROBLEMS
from bizcharts_pipeline.text.html import html_to_text

POSTED = datetime(2025, 12, 18, 9, 0, 30)
each_generation = pytest.mark.parametrize("generation", GENERATIONS)


def only(page: bytes) -> ArchivedPost:
    read = parse_page(page)
    assert (len(read.posts), read.problems, read.rejected) == (1, (), 0)
    return read.posts[0]


def real(folder: Path) -> bytes:
    return (folder / "warosu_html" / "tg_thread_40312392.html").read_bytes()


def test_the_real_page_is_read_to_the_last_post(shared_data: Path) -> None:
    raw = real(shared_data).decode()
    posts = re.split(r'(?=<(?:div|td)[^>]* id="p\d+")', raw)[1:]
    page = parse_page(real(shared_data))
    assert (page.problems, page.rejected, page.nothing_found) == ((), 0, False)
    assert len(page.posts) == len(posts) == 495
    for post, source in zip(page.posts, posts, strict=True):
        assert f'id="p{post.number}"' in source[:60]
        title = re.search(r'posttime" title="(\d+)000"', source)
        assert title is not None
        assert post.stored_at == datetime.fromtimestamp(int(title[1]), UTC).replace(tzinfo=None) == post.posted_at
        name = re.search(r'<span itemprop="name">([^<]*)</span></span>', source)
        trip = re.search(r'postertrip">&nbsp;([^<]*)<', source)
        assert post.name == html.unescape(name[1] if name else "?")
        assert post.trip == (html.unescape(trip[1]) if trip else None)
        assert (post.thread_id, post.is_op, post.is_ghost, post.deleted) == (
            40312392,
            post is page.posts[0],
            False,
            False,
        )
        text = source[source.index("<blockquote>") : source.index("</blockquote>")]
        crude = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br />|</?p\b[^>]*>", "\n", text.replace("\n", " "))))
        crude = re.sub(r"\n{3,}", "\n\n", "\n".join(" ".join(line.split(" ")).strip() for line in crude.split("\n")))
        assert re.sub(r" +", " ", html_to_text(post.html)) == re.sub(r" +", " ", crude).strip()
    assert page.posts[0].subject == "Pokemon Quest #93 Part 2"
    assert sum(post.subject is not None for post in page.posts) == raw.count('class="filetitle"')
    assert page.counts() == {40312392: Counts(replies=494, images=11)}


def test_the_real_page_keeps_its_spoilers_quotes_greentext_and_files(shared_data: Path) -> None:
    raw = real(shared_data).decode()
    page = parse_page(real(shared_data))
    texts = [html_to_text(post.html) for post in page.posts]
    greentext = [html.unescape(line) for line in re.findall(r'<span class="unkfunc">(.*?)</span>', raw)]
    lines = {line for text in texts for line in text.split("\n")}
    assert len(greentext) == sum(post.html.count('class="unkfunc"') for post in page.posts) == 236
    assert all(re.sub(r"<[^>]*>", "", line).strip() in lines for line in greentext)
    assert sum(post.html.count('class="spoiler"') for post in page.posts) == raw.count("<span class='spoiler'>") == 8
    quotes = re.findall(r'class="backlink"[^>]*>&gt;&gt;(\d+)<', raw)
    assert sum(text.count(f">>{number}") for text in texts for number in set(quotes)) == len(quotes) == 547
    assert sum(post.spoiler for post in page.posts) == raw.count('alt="[SPOILER]"') == 3
    files = re.findall(r"<span>File: (\S+) ([KM])B, (\d+)x(\d+), (.*?)</span>", raw)
    read = [post.file for post in page.posts if post.file]
    assert len(read) == len(files) == 12
    for file, (size, unit, width, height, name) in zip(read, files, strict=True):
        assert file.bytes == round(float(size) * {"K": 1024, "M": 1024**2}[unit])
        assert (file.width, file.height, file.name, file.removed) == (int(width), int(height), name, False)
        assert f'href="{(file.image_url or "").removeprefix("https:")}"' in raw
        assert f'src="{(file.thumbnail_url or "").removeprefix("https:")}"' in raw
        assert f"/tg/image/{(file.md5 or '').rstrip('=').replace('+', '-').replace('/', '_')}" in raw


@each_generation
def test_a_result_an_opening_post_and_a_reply_are_read_alike(generation: Generation) -> None:
    full: dict[str, Any] = {
        "file": "55 KB, 450x675, a, b.jpg",
        "link": "own",
        "subject": "Sample &amp; co",
        "trip": "!!abc/+",
    }
    opening = sample(61000001, **full, text="one<br><span class=unkfunc>&gt;two</span>")
    reply = sample(61000002, 61000001, text='<a class=backlink href="#p61000001">&gt;&gt;61000001</a><br>ok, fine')
    found = only(results(generation, opening))
    head, answer = parse_page(thread(generation, opening, reply)).posts
    for post in (found, head):
        assert (post.number, post.thread_id, post.is_op, post.stored_at) == (61000001, 61000001, True, POSTED)
        assert (post.subject, post.name, post.trip, post.capcode) == ("Sample & co", "Anonymous", "!!abc/+", None)
        assert html_to_text(post.html) == "one\n>two"
        assert post.file is not None
        assert post.file == ArchivedFile(
            name="a, b.jpg",
            bytes=55 * 1024,
            width=450,
            height=675,
            image_url=HOST + picture(),
            thumbnail_url=HOST + picture(thumb=True),
            md5="ENjiJza3IPo0LBo+u9l/Ew==" if generation == "A" else None,
        )
    assert (found.omitted_replies, head.omitted_replies) == (None, 0)
    assert (answer.number, answer.thread_id, answer.is_op, answer.omitted_replies) == (61000002, 61000001, False, None)
    assert html_to_text(answer.html) == ">>61000001\nok, fine"
    assert only(results(generation, reply)) == answer


@each_generation
def test_names_of_officials_and_of_those_with_mail_addresses_are_exact(generation: Generation) -> None:
    ghost, mod, mailed = parse_page(
        thread(
            generation,
            sample(61000002, 61000001, name="\N{IDEOGRAPHIC SPACE}Mumu &lt;3", trip="!x"),
            sample(61000003, 61000001, name="Somebody", capcode="mod"),
            sample(61000004, 61000001, name="Bobo", trip="!y", mail="sage"),
        )
    ).posts
    assert (ghost.name, ghost.trip, ghost.capcode) == ("\N{IDEOGRAPHIC SPACE}Mumu <3", "!x", None)
    assert (mod.name, mod.capcode, mod.trip) == ("Somebody", "mod", None)
    assert (mailed.name, mailed.trip) == ("Bobo", "!y")


def test_a_capcode_and_a_mail_link_may_also_be_around_or_within_the_name() -> None:
    page = document(
        "B",
        '<table><tr><td class=doubledash>>><td class="comment reply" id=p3><a href=/cdn-cgi/l/email-protection#1>'
        '<span class="postername admin">Boss ##Admin</span><span class=postertrip>&nbsp;!z</span></a>'
        f"<span class=posttime title={MS}>x</span> <a class=js href=/biz/thread/1#p3>No.3</a>"
        "<blockquote>a</blockquote></table>",
    )
    assert (only(page).name, only(page).trip, only(page).capcode) == ("Boss", "!z", "admin")


@each_generation
def test_ghosts_are_read_and_marked_and_never_counted_or_taken_for_openings(generation: Generation) -> None:
    opening, reply = sample(61000001), sample(61000002, 61000001)
    ghosts = [sample(61000002, 61000001, ghost=1, marks=("internal",)), sample(61000001, ghost=2)]
    page = parse_page(thread(generation, opening, reply, ghosts[0]))
    assert [(post.number, post.ghost_number, post.is_ghost) for post in page.posts] == [
        (61000001, 0, False),
        (61000002, 0, False),
        (61000002, 1, True),
    ]
    assert page.counts() == {61000001: Counts(replies=1, images=0)}
    found = parse_page(results(generation, *ghosts))
    assert [(post.number, post.ghost_number, post.is_op) for post in found.posts] == [
        (61000002, 1, False),
        (61000001, 2, False),
    ]
    assert found.problems == ()


@each_generation
def test_an_index_page_tells_how_many_replies_its_threads_have(generation: Generation) -> None:
    picture_reply = sample(61000004, 61000003, file="1 B, 1x1, x.png", link="own")
    page = parse_page(
        index(
            generation,
            (sample(61000001), 12, (sample(61000005, 61000001), sample(61000006, 61000001))),
            (sample(61000003), 0, (picture_reply,)),
            (sample(61000007), 0, ()),
        )
    )
    assert page.counts() == {61000001: Counts(14, None), 61000003: Counts(1, 1), 61000007: Counts(0, 0)}
    assert [post.number for post in page.posts if post.is_op] == [61000001, 61000003, 61000007]
    assert parse_page(results(generation, sample(61000001))).counts() == {}


def test_what_is_left_out_may_be_said_behind_the_block_and_what_can_not_be_read_tells_no_count() -> None:
    note = "<span class=omittedposts>7 replies omitted.</span>"
    page = parse_page(document("B", op("B", sample(5)) + note + cell("B", sample(6, 5))))
    assert page.counts() == {5: Counts(8, None)}
    odd = parse_page(document("B", op("B", sample(5)) + note.replace("7", "some")))
    assert odd.counts() == {}
    assert "omitted" in odd.problems[0]
    damaged = parse_page(document("B", op("B", sample(5)) + cell("B", sample(6, 5, ms="soon"))))
    assert (damaged.counts(), damaged.rejected) == ({}, 1)


@each_generation
def test_marks_are_flags(generation: Generation) -> None:
    post = only(results(generation, sample(7, marks=("deleted", "spoiler", "sticky"))))
    assert (post.deleted, post.spoiler, post.sticky, post.is_ghost, post.file) == (True, True, True, False, None)


@each_generation
@pytest.mark.parametrize(
    ("size", "count"), [("812 B", 812), ("1 KB", 1024), ("198 KB", 202752), ("1.42 MB", 1488978), ("3 GB", 3221225472)]
)
def test_sizes_are_bytes(generation: Generation, size: str, count: int) -> None:
    file = only(results(generation, sample(7, file=f"{size}, 1x2, .odd, name , x.tar.gz", link="own"))).file
    assert file is not None
    assert (file.bytes, file.name, file.width, file.height) == (count, ".odd, name , x.tar.gz", 1, 2)


@each_generation
def test_a_file_may_be_removed_foreign_or_without_a_thumbnail(generation: Generation) -> None:
    line = "9 KB, 1x1, a.png"
    foreign = "https://i.4cdn.org/biz/1766048430123456.png"
    removed, elsewhere, bare, icon = parse_page(
        thread(
            generation,
            sample(2, 1, file=line),
            sample(3, 1, file=line, link=foreign, thumb="/media/x.png"),
            sample(4, 1, file=line, link="own", image_class="nothumb", thumb="/media/error.png"),
            sample(5, 1, link="javascript:;", thumb="/media/spoiler.png"),
        )
    ).posts
    files = [
        (post.file.image_url, post.file.thumbnail_url, post.file.removed)
        for post in (removed, elsewhere, bare)
        if post.file
    ]
    assert files == [(None, None, True), (None, None, False), (HOST + picture(thread=1), None, False)]
    assert icon.file is None


@pytest.mark.parametrize(
    "host", ["//i.warosu.org", "http://warosu.org", "https://img.warosu.org", "", "//127.0.0.1:81"]
)
def test_pictures_are_asked_of_the_configured_host_wherever_the_page_says_they_are(host: str) -> None:
    page = results("B", sample(7, file="9 KB, 1x1, a.png", link=host + picture(), thumb=host + picture(thumb=True)))
    file = parse_page(page, image_url="http://127.0.0.1:81").posts[0].file
    assert file is not None
    assert file.image_url == "http://127.0.0.1:81" + picture()
    assert file.thumbnail_url == "http://127.0.0.1:81" + picture(thumb=True)


@each_generation
@pytest.mark.parametrize("digits", [13, 16])
@pytest.mark.parametrize(
    ("behind", "corrected"),
    [
        (0, 0),
        (14_400, 14_400),
        (18_000, 18_000),
        (18_003, 18_000),
        (14_397, 14_400),
        (14_410, 0),
        (3_600, 0),
        (-18_000, 0),
    ],
)
def test_hours_that_a_time_is_too_small_by_are_added_and_told(
    generation: Generation, digits: int, behind: int, corrected: int
) -> None:
    link = HOST + picture(STEM[:digits])
    post = only(results(generation, sample(7, ms=MS - behind * 1000, file="9 KB, 1x1, a.jpg", link=link)))
    assert post.corrected_by_seconds == corrected
    assert post.stored_at == POSTED - timedelta(seconds=behind)
    assert post.posted_at == post.stored_at + timedelta(seconds=corrected)


@each_generation
def test_a_text_is_what_the_poster_wrote(generation: Generation) -> None:
    hidden = '<span class="__cf_email__" data-cfemail="5b">[email&#160;protected]</span>'
    text = (
        f"mail {hidden} or <a href='/cdn-cgi/l/email-protection' class='__cf_email__'>[email&#160;protected]</a><br>"
        "<span class='quote'>&gt;be me</span><br><a href=/biz/post/5>&gt;&gt;5</a> <a href='https://a.b/?x=1&amp;y'>"
        "https://a.b/?x=1&amp;y</a><br><span class='spoiler'>s</span><b>b</b><em>e</em><sup>2</sup>"
        "<code>c &lt;d&gt;</code><br>"
        "1&#44;000 &#039;q&#039;"
    )
    post = only(results(generation, sample(7, text=text)))
    assert html_to_text(post.html).replace("\nc <d>\n", "c <d>").split("\n") == [
        "mail [email protected] or [email protected]",
        ">be me",
        ">>5 https://a.b/?x=1&y",
        "sbe2c <d>",
        "1,000 'q'",
    ]


def test_raw_signs_missing_end_tags_and_threads_without_an_opening_post_are_no_problem() -> None:
    page = parse_page(
        b"<div class=content><table><tr><td class=doubledash>>><td class='comment reply' id=p9>"
        b"<span class=postername>Anonymous</span><span class=posttime title=1766048430000></span>"
        b"<a class=js href=/biz/thread/S5#p9>No.9</a><blockquote><a href=#p5>>>5</a><br>a</blockquote></table>"
    )
    assert [(post.number, post.thread_id, html_to_text(post.html)) for post in page.posts] == [(9, 5, ">>5\na")]
    assert (page.problems, page.counts()) == ((), {})


def test_a_number_stands_in_the_id_the_link_or_the_box() -> None:
    post = cell("A", sample(61000002, 61000001)).replace(' id="p61000002"', "")
    assert only(document("A", post)).number == 61000002
    split = post.replace("No.61000002", "No.</a><a class=js href='javascript:insert(1)'>61000002")
    assert only(document("A", split)).number == 61000002
    ghost = (
        cell("A", sample(61000002, 61000001, ghost=3))
        .replace(' id="p61000002_3"', "")
        .replace("#p61000002_3", "#p61000002")
    )
    assert only(document("A", ghost)).ghost_number == 3
    assert only(document("A", ghost.replace("No.61000002,3", "No."))).ghost_number == 3
    wrong = parse_page(document("A", cell("A", sample(1)) + post.replace("No.61000002", "No.7")))
    assert "No. 7" in wrong.problems[0]


@each_generation
@pytest.mark.parametrize("digits", ["0", "000", "9" * 19, "9" * 400])
@pytest.mark.parametrize("number", ["61000002", "61000001"])
def test_a_number_that_no_post_can_have_is_refused_and_not_cut(
    generation: Generation, digits: str, number: str
) -> None:
    post = cell(generation, sample(61000002, 61000001)).replace(number, digits)
    page = parse_page(document(generation, cell(generation, sample(1)) + post))
    assert [post.number for post in page.posts] == [1]
    assert page.rejected == len(page.problems) == 1


@each_generation
@pytest.mark.parametrize(
    "ms", ["", "soon", "1", "99999999999999999", "\N{ARABIC-INDIC DIGIT ONE}766048430000", "-1766048430000"]
)
def test_a_post_that_can_not_be_read_costs_only_itself_and_is_named(generation: Generation, ms: str) -> None:
    page = parse_page(results(generation, sample(1), sample(2, ms=ms or '""'), sample(3)))
    assert [post.number for post in page.posts] == [1, 3]
    assert page.rejected == len(page.problems) == 1
    assert "post 2 of the page" in page.problems[0]


def test_posts_of_an_unknown_layout_are_never_passed_over_in_silence() -> None:
    known, article = cell("B", sample(1)), cell("B", sample(2)).replace("comment reply", "note").replace(" id=p2", "")
    page = parse_page(document("B", known + article + known))
    assert ([post.number for post in page.posts], page.rejected, len(page.problems)) == ([1], 1, 2)
    timeless = re.sub("<span class=posttime.*?</span>", "", known)
    assert parse_page(document("B", timeless + cell("B", sample(2)))).rejected == 1
    for page_of_strangers in (article, timeless, known.replace("/thread/", "/t/"), "<p><a href=/biz/thread/1>x</a>"):
        with pytest.raises(ArchiveFormatError, match="layout"):
            parse_page(document("B", page_of_strangers))
    many = parse_page(document("B", known + cell("B", sample(2, ms="x")) * 100))
    assert (many.rejected, len(many.problems)) == (100, MAX_PROBLEMS + 1)


@each_generation
def test_no_results_and_an_index_page_beyond_the_last_are_told_apart(generation: Generation) -> None:
    page = parse_page(results(generation))
    assert (page.posts, page.nothing_found) == ((), True)
    assert parse_page(b"<title>x</title><body><p>No posts found</p>").nothing_found
    beyond = parse_page(index(generation))
    assert (beyond.posts, beyond.nothing_found, beyond.title) == ((), False, "/biz/ - Business & Finance")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "Not an HTML page"),
        (b"bad gateway", "Not an HTML page"),
        (b"<title>Just a moment...</title><body><div id=challenge></div>", "Cloudflare"),
        (b"<title>Attention Required! | Cloudflare</title><h1>Sorry, you have been blocked</h1>", "Cloudflare"),
        (b'<div class="error container"><h2>Error!</h2><ul><li>No such thread</li></ul></div>', "No such thread"),
        (b"<title>/biz/</title><main>new design</main>", "layout"),
        (document("B", "", heading="Search: No posts found, offset: 0"), "layout"),
        (b"<title>/biz/</title><textarea>No posts found</textarea>", "layout"),
        (b"<title>/biz/</title><div cla", "Truncated page"),
        (b"<div class=content>" + b" " * warosu_markup.MAX_PAGE_BYTES, "bytes"),
        (b"<div class=content>" + b"<DIV></x>" * 200_000, "nested too deeply"),
        (b"<div class=content>" + b"<p><span></p>" * 150_000, "nested too deeply"),
        (b"<div class=content><div " + b" ".join(b"a%d=b" % n for n in range(200_000)) + b">", "over 4,096 bytes"),
        (b"<div class=content></DIV " + b"\n".join(b"a%d" % n for n in range(200_000)), "over 4,096 bytes"),
        (b"<div class=content><div " + b"".join(b"a%d='>'" % n for n in range(150_000)) + b">", "over 32 attributes"),
        (b"<div class=content>" + b"".join(b"<Body a%d></Body>" % n for n in range(99_000)), "over 4,096 bytes"),
    ],
)
def test_what_is_no_page_of_the_archive_is_refused_with_its_reason(body: bytes, what: str) -> None:
    with pytest.raises(ArchiveFormatError, match=what) as failure:
        parse_page(body)
    assert isinstance(failure.value, SourceError)


@pytest.mark.parametrize("make", [results, thread])
@each_generation
def test_the_beginning_of_a_page_is_never_taken_for_a_page_without_its_last_text(
    generation: Generation, make: Any
) -> None:
    body = make(generation, *(sample(number, text="1234<br>67 &gt; 9") for number in range(61000001, 61000004)))
    whole = parse_page(body).posts
    refused = 0
    for end in range(body.index(b"posttime"), len(body)):
        try:
            posts = parse_page(body[:end]).posts
        except ArchiveFormatError:
            refused += 1
        else:
            assert posts == whole[: len(posts)]
    assert refused > end / 5


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_give_a_page_or_the_one_error(body: bytes) -> None:
    for page in (body, b"<div class=content>" + body, document("B", "") + body):
        assert outcome(page) == outcome(page)


@given(
    st.sampled_from(GENERATIONS), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 60), st.binary(max_size=3)))
)
@settings(max_examples=200)
def test_a_damaged_page_gives_a_page_or_the_one_error(
    generation: Generation, damages: list[tuple[int, int, bytes]]
) -> None:
    file: dict[str, Any] = {"file": "55 KB, 450x675, a.jpg", "link": "own", "marks": ("spoiler",)}
    body = index(generation, (sample(1, **file), 3, (sample(2, 1, trip="!a"), sample(3, 1, mail="b", ghost=1))))
    for start, length, put in damages:
        start %= len(body)
        body = body[:start] + put + body[start + length :]
    assert outcome(body) == outcome(body)


def outcome(body: bytes) -> ArchivePage | str:
    try:
        page = parse_page(body)
    except ArchiveFormatError as error:
        return str(error)
    for post in page.posts:
        assert post.number > 0
        assert post.posted_at >= datetime(2003, 10, 1)
        post.html.encode()
        html_to_text(post.html)
    page.counts()
    return page
