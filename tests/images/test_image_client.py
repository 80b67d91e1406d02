"""The client of the image hosts: two hosts, and no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.demo.server import BoardServer, Page
from bizcharts_pipeline.http.errors import ResponseTooLarge, SourceNotFound
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.images.client import ArchiveListFormatError, ImageClient, image_client

LIVE, ARCHIVE = "https://i.4cdn.org", "https://i.warosu.org"


class Host(BoardServer):
    def __init__(self) -> None:
        super().__init__("biz")
        self.archive = b"[3, 1, 9223372036854775807]"

    def page(self, path: str, query: str) -> Page | None:
        if path == "/biz/archive.json":
            return Page(self.archive)
        return Page(b"picture", "image/jpeg") if path == "/biz/1s.jpg" else None


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


def client_of(host: Host, folder: Path) -> ImageClient:
    session = PoliteSession(0, rate_folder=folder, timeouts=Timeouts(total=3, back_off=0.01))
    return ImageClient(
        session, session, board="biz", api_url=host.url, image_url=host.url, archive_image_url="http://127.0.0.1:9"
    )


def public() -> ImageClient:
    return image_client(
        board="biz",
        api_url="https://a.4cdn.org",
        image_url=LIVE,
        archive_image_url=ARCHIVE,
        seconds_per_request=0,
        archive_seconds_per_request=0,
    )


def test_a_picture_comes_whole_or_not_at_all(host: Host, tmp_path: Path) -> None:
    client = client_of(host, tmp_path)
    answer = client.picture(f"{host.url}/biz/1s.jpg", max_bytes=7)
    assert (answer.body, answer.headers["content-type"]) == (b"picture", "image/jpeg")
    with pytest.raises(ResponseTooLarge):
        client.picture(f"{host.url}/biz/1s.jpg", max_bytes=6)
    with pytest.raises(SourceNotFound):
        client.picture(f"{host.url}/biz/2s.jpg", max_bytes=7)


def test_the_list_of_archived_threads_is_numbers_or_an_error(host: Host, tmp_path: Path) -> None:
    client = client_of(host, tmp_path)
    assert client.archived_threads() == {1, 3, 2**63 - 1}
    for wrong in (
        b"",
        b"{}",
        b'["1"]',
        b"[1.5]",
        b"[true]",
        b"[0]",
        b"[9223372036854775808]",
        b"<html>",
        b"[" * 90_000,
    ):
        host.archive = wrong
        with pytest.raises(ArchiveListFormatError, match=r"archive\.json"):
            client.archived_threads()


def test_each_url_is_of_the_host_that_it_names() -> None:
    client = public()
    assert client.source_of(f"{LIVE}/biz/1766048430123456s.jpg") == "live"
    assert client.source_of(f"{ARCHIVE}/data/biz/thumb/0610/00/1766048430123456s.jpg") == "warosu"


@pytest.mark.parametrize(
    "url",
    [
        "",
        LIVE,
        f"{LIVE}/",
        "http://i.4cdn.org/biz/1s.jpg",
        f"{LIVE}.evil.example/biz/1s.jpg",
        f"{LIVE}@evil.example/1s.jpg",
        f"{LIVE}:8080/biz/1s.jpg",
        f"{LIVE}/biz/../../1s.jpg",
        f"{LIVE}/biz/.1s.jpg",
        f"{LIVE}//evil.example/1s.jpg",
        f"{LIVE}/biz/1s.jpg?a=b",
        f"{LIVE}/biz/1s.jpg#a",
        f"{LIVE}/biz/1s.jpg\n",
        f"{LIVE}/biz/%2e%2e/1s.jpg",
        f"{LIVE}/biz\\1s.jpg",
        f"{LIVE}/biz/{'1' * 300}.jpg",
        "file:///etc/passwd",
        "//i.4cdn.org/biz/1s.jpg",
    ],
)
def test_whatever_is_not_plainly_a_file_of_the_two_hosts_is_foreign_and_not_asked(url: str) -> None:
    client = public()
    assert client.source_of(url) is None
    with pytest.raises(ValueError, match="configured hosts"):
        client.picture(url, max_bytes=1000)


@given(rest=st.text(max_size=40))
def test_no_text_behind_a_host_leads_elsewhere(rest: str) -> None:
    if public().source_of(LIVE + rest) is not None:
        assert rest.startswith("/")
        assert ".." not in rest.split("/")
        assert not set(rest) & set("?#@\\: \n%")


def test_public_hosts_are_asked_no_more_often_than_their_minimum_whatever_is_set() -> None:
    sessions = public()._sessions
    assert sessions["live"]._seconds_per_request == 1
    assert sessions["warosu"]._seconds_per_request == 2
    slower = image_client(
        board="biz",
        api_url="http://127.0.0.1:1",
        image_url="http://127.0.0.1:1",
        archive_image_url=ARCHIVE,
        seconds_per_request=0,
        archive_seconds_per_request=7,
    )
    assert slower._sessions["live"]._seconds_per_request == 0
    assert slower._sessions["warosu"]._seconds_per_request == 7
