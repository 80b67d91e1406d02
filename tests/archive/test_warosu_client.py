"""The archive's client against a server that heeds a search form as Fuuka does, and its posts as rows."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from archive.warosu_samples import HOST, MS, picture, results, sample

from bizcharts_pipeline.archive.client import Search, WarosuClient, as_source_thread
from bizcharts_pipeline.archive.markup import ArchivedPost, Counts, parse_page
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.http.errors import SourceNotFound, SourceUnreachable
from bizcharts_pipeline.http.fields import HTML_MAX_CHARACTERS, NAME_MAX_CHARACTERS, SUBJECT_MAX_CHARACTERS
from bizcharts_pipeline.http.session import PoliteSession, Timeouts

# The whole form, each radio button on what says "any"; what a search leaves out Fuuka may read as something else.
FORM = {
    "task": "search2",
    "ghost": "",
    "search_text": "",
    "search_subject": "",
    "search_username": "",
    "search_tripcode": "",
    "search_email": "",
    "search_filename": "",
    "search_media_hash": "",
    "search_datefrom": "",
    "search_dateto": "",
    "search_op": "op",
    "search_del": "dontcare",
    "search_int": "dontcare",
    "search_ord": "new",
    "search_capcode": "all",
    "search_res": "post",
    "offset": "0",
}


@dataclass
class Archive:
    """What was asked of the server, which gives ``page`` with ``status``."""

    url: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    page: bytes = b"page"
    status: int = 200


@pytest.fixture
def archive() -> Iterator[Archive]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            served.asked.append((parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))))
            self.send_response(served.status)
            self.send_header("Content-Length", str(len(served.page)))
            self.end_headers()
            self.wfile.write(served.page)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Archive(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(archive: Archive, tmp_path: Path) -> WarosuClient:
    session = PoliteSession(0, rate_folder=tmp_path, timeouts=Timeouts(total=5, back_off=0.01))
    return WarosuClient(session, archive.url, archive.url, "biz")


def test_a_search_sends_the_whole_form(archive: Archive, client: WarosuClient) -> None:
    search = Search('"a & b"|c -d', "être", date(2025, 10, 1), date(2026, 1, 2), "old")
    assert client.search(search, 48) == b"page"
    assert client.search(Search(), 0) == b"page"
    asked = {"search_text": '"a & b"|c -d', "search_subject": "être", "search_ord": "old", "offset": "48"}
    dates = {"search_datefrom": "2025-10-01", "search_dateto": "2026-01-02"}
    assert archive.asked == [("/biz/", FORM | asked | dates), ("/biz/", FORM)]


def test_index_pages_and_threads_are_where_the_archive_has_them(archive: Archive, client: WarosuClient) -> None:
    assert (client.index(3), client.thread(61000001)) == (b"page", b"page")
    assert archive.asked == [("/biz/", {"task": "page", "page": "3"}), ("/biz/thread/61000001", {})]


def test_an_error_of_a_search_is_no_empty_list_and_elsewhere_it_means_that_there_is_no_such_page(
    archive: Archive, client: WarosuClient
) -> None:
    archive.status, archive.page = 404, b'<div class="error container"><ul><li>search is down</li></ul></div>'
    with pytest.raises(SourceUnreachable, match="search engine"):
        client.search(Search(), 0)
    for get in (client.index, client.thread):
        with pytest.raises(SourceNotFound):
            get(1)


def test_an_opening_post_becomes_a_row_without_its_poster() -> None:
    name = "who I am"
    body = results(
        "A",
        sample(
            61000001,
            ms=MS - 18_000_000,
            subject="A  &quot;B&quot;",
            name=name,
            trip="!secret",
            capcode="mod",
            text="buy",
            file="55 KB, 450x675, a, b.tar.jpg",
            link="own",
            marks=("deleted", "spoiler", "sticky"),
        ),
    )
    row = as_source_thread(parse_page(body).posts[0], Counts(12, None))
    assert row == SourceThread(
        thread_id=61000001,
        posted_at=datetime(2025, 12, 18, 9, 0, 30),
        source="warosu",
        subject='A "B"',
        op_html=row.op_html,
        reply_count=12,
        image_url=HOST + picture(),
        thumbnail_url=HOST + picture(thumb=True),
        image_md5="ENjiJza3IPo0LBo+u9l/Ew==",
        image_filename="a, b.tar",
        image_width=450,
        image_height=675,
        image_bytes=55 * 1024,
        spoiler=True,
        sticky=True,
        capcode="mod",
        extra={"deleted": True, "time_corrected_by_seconds": 18_000},
    )
    assert name not in repr(row)
    assert "secret" not in repr(row)


def test_what_a_post_lacks_its_row_lacks_and_what_no_column_takes_is_cut() -> None:
    post = ArchivedPost(7, 7, datetime(2025, 1, 1), "", "Anonymous")
    assert as_source_thread(post) == SourceThread(thread_id=7, posted_at=datetime(2025, 1, 1), source="warosu")
    removed = parse_page(results("B", sample(7, file="1 B, 999999999x999999999, .png"))).posts[0]
    row = as_source_thread(removed)
    assert (row.file_deleted, row.image_url, row.image_filename) == (True, None, ".png")
    assert removed.file is not None
    long = replace(
        removed,
        html="\x07\ud800" + "x" * 10**6,
        subject="\u202e\x00 y\n" * 10**5,
        file=replace(removed.file, name="n" * 1000 + ".jpg"),
    )
    row = as_source_thread(long)
    assert row.op_html is not None
    assert (row.op_html[:2], len(row.op_html)) == ("\N{REPLACEMENT CHARACTER}x", HTML_MAX_CHARACTERS)
    assert row.subject is not None
    assert (row.subject[:4], len(row.subject)) == ("y y ", SUBJECT_MAX_CHARACTERS)
    assert row.image_filename == "n" * NAME_MAX_CHARACTERS
