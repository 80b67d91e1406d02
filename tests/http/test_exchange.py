"""Bodies and addresses: what is decompressed, and whom a client really connects to."""

import gzip
import json
import random
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import requests
from hostile_bodies import EMPTY_MEMBER
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from bizcharts_pipeline.core.addresses import BadAddress, address_problem, masked, origin
from bizcharts_pipeline.demo.board.server import ReplayBoard
from bizcharts_pipeline.http.deadline import cut_off_after
from bizcharts_pipeline.http.errors import UnexpectedAnswer
from bizcharts_pipeline.http.exchange import (
    MAX_GZIP_MEMBERS,
    BodyTooLarge,
    BodyTruncated,
    BoundedSession,
    UnrequestedEncoding,
    gunzipped,
)
from bizcharts_pipeline.http.redirects import redirect_target
from bizcharts_pipeline.http.session import PoliteSession

MOST = 8 * 2**20
# Each is read as one host by one parser and as another, or not at all, by the next.
AMBIGUOUS = [
    "http://elsewhere.example\\@a.example/x",
    "http://a.example\\.elsewhere.example/x",
    "http:\\\\elsewhere.example/x",
    "http://a.exam\tple/x",
    "http://a.example\n.elsewhere.example/x",
    "http://a.example /x",
    "http://a.example%2eelsewhere.example/x",
    "http://a.ex\u00adample/x",
    "http://\uff41.example/x",
    "http://[a.example]/x",
    "http://[::1]elsewhere.example/x",
    "http://a.example:80:81/x",
    "http://a.example:0/x",
    "http://a.example:65536/x",
    "http:///x",
    "http:a.example/x",
    "//a.example/x",
    "file:///etc/passwd",
]
WITH_PASSWORD = [
    "http://me:secret@a.example/x",
    "http://:secret@a.example/x",
    "http://secret@a.example/x",
    "http://@a.example/secret",
    "http://me:se/secret@a.example/x",
    "https://elsewhere.example@secret@a.example/",
]


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@given(st.binary(max_size=5_000), st.integers(1, 5), st.integers(1, 700), st.integers(0, 9))
def test_gzip_of_several_members_is_read_whole_however_it_is_cut_into_pieces(
    content: bytes, members: int, size: int, level: int
) -> None:
    compressed = gzip.compress(content, level, mtime=0) * members
    assert b"".join(gunzipped(pieces(compressed, size), MOST)) == content * members
    with pytest.raises(BodyTruncated):
        b"".join(gunzipped(pieces(compressed[:-1], size), MOST))


def test_a_body_at_the_cap_is_read_and_one_byte_more_is_not() -> None:
    content = random.Random(1).randbytes(300_000)
    compressed = gzip.compress(content)
    assert b"".join(gunzipped(pieces(compressed, 65_536), len(content))) == content
    with pytest.raises(BodyTooLarge):
        b"".join(gunzipped(pieces(compressed, 65_536), len(content) - 1))


def test_an_endless_row_of_empty_members_ends_after_a_few_of_them() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield EMPTY_MEMBER * 3_000

    with pytest.raises(BodyTooLarge, match="members"):
        list(gunzipped(endless(), MOST))
    assert list(gunzipped([EMPTY_MEMBER * MAX_GZIP_MEMBERS], MOST)) == []


def test_a_bomb_is_refused_by_its_ratio_long_before_the_cap() -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(7)) + compressor.flush()
    made: list[bytes] = []
    with pytest.raises(BodyTooLarge, match="times its size"):
        made.extend(gunzipped([bomb], MOST))
    assert sum(map(len, made)) <= 2 * 2**20


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "deflate"])
def test_an_encoding_that_is_not_bounded_is_not_read(encoding: str) -> None:
    answer = requests.Response()
    answer.headers["Content-Encoding"] = encoding
    with BoundedSession(gzip=True) as session, pytest.raises(UnrequestedEncoding):
        session.body(answer, MOST)


@pytest.mark.parametrize("address", AMBIGUOUS + WITH_PASSWORD)
def test_an_address_that_parsers_disagree_on_or_that_holds_a_password_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(BadAddress) as refused:
        origin(address)
    assert "secret" not in str(refused.value)
    with ReplayBoard([(b"[]", "")]) as board:
        with PoliteSession(0, rate_folder=tmp_path) as polite, pytest.raises(UnexpectedAnswer) as named:
            polite.get(address)
        # The core refuses it too, whoever calls it.
        with BoundedSession() as session, cut_off_after(5), pytest.raises(requests.RequestException) as unsent:
            session.exchange("GET", address, timeouts=(1, 1))
        assert board.requests == []
    if address in WITH_PASSWORD[:3]:
        assert "secret" not in f"{named.value} {unsent.value}"


@pytest.mark.parametrize("address", AMBIGUOUS + WITH_PASSWORD)
def test_a_redirect_to_such_an_address_is_not_followed_and_its_password_not_shown(address: str) -> None:
    if address in ("//a.example/x", "http:///x", "http:a.example/x"):
        return  # joined to an address they name the same host, whole
    with pytest.raises(UnexpectedAnswer, match="redirects to") as refused:
        redirect_target("http://a.example/x", address)
    assert "secret" not in str(refused.value) or address == WITH_PASSWORD[3]


@pytest.mark.parametrize(
    "address", ["http://a.example", "HTTPS://A.example:8443/x?y=@z#w", "http://127.0.0.1:1/", "http://[::1]:80/x"]
)
def test_a_plain_address_is_what_the_client_connects_to(address: str) -> None:
    read = origin(address)
    with BoundedSession() as session:
        prepared = session.prepare_request(requests.Request("GET", address)).url
    assert origin(str(prepared)) == read
    assert address_problem(address) is None


def test_a_key_that_a_service_repeats_is_not_in_the_body_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", 'rpa_"canary"/1')
    answer = requests.Response()
    content = json.dumps({"detail": 'no such key: rpa_"canary"/1'}).encode() + b' rpa_"canary"/1'
    answer.raw = HTTPResponse(BytesIO(content), preload_content=False)
    body = BoundedSession().body(answer, 1_000)
    assert body == b'{"detail": "no such key: <RUNPOD_API_KEY>"} <RUNPOD_API_KEY>'


def test_a_password_in_any_text_is_masked() -> None:
    for address in WITH_PASSWORD[:3] + WITH_PASSWORD[4:]:
        assert "secret" not in masked(f"Max retries for '{address}' (again {address})")
    assert masked("http://a.example/x mail@b.example") == "http://a.example/x mail@b.example"
