"""The simulated hosts answer as the real ones did in the recorded exchanges."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.pictures import plan_of
from bizcharts_pipeline.demo.world import World

START = datetime(2026, 1, 1)
WORLD = World(5, START, 10)


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(WORLD, now=START + timedelta(hours=30)) as server:
        yield server


def test_headers_are_those_of_the_recorded_exchanges(board: SimulatedBoard, shared_data: Path) -> None:
    lines = (shared_data / "4chan_api" / "http_exchanges_2014.jsonl").read_text().splitlines()
    recorded = {}
    for exchange in map(json.loads, lines):
        kind = "catalog" if "catalog" in exchange["url"] else "file" if "i.4cdn" in exchange["url"] else "other"
        recorded[kind, exchange["status"]] = exchange["response_headers"]
    not_of_the_api = {"connection", "cf-cache-status", "accept-ranges", "expires", "cache-control"}
    url = board.catalog_url
    thread = WORLD.threads_between(START + timedelta(hours=29), board.now)[0]
    picture = f"{board.url}/biz/{thread.tim}s.jpg"
    for kind, address in (("catalog", url), ("file", picture)):
        answer = requests.get(address, headers={"Accept-Encoding": "identity"}, timeout=5)
        assert set(recorded[kind, 200]) - not_of_the_api <= {name.lower() for name in answer.headers}
        assert answer.headers["Content-Type"] == recorded[kind, 200]["content-type"].replace("png", "jpeg")
    assert requests.get(url, timeout=5).headers["Cache-Control"] == recorded["catalog", 200]["cache-control"]


def test_the_catalogue_is_the_worlds_and_304_until_it_changes(board: SimulatedBoard) -> None:
    first = requests.get(board.catalog_url, timeout=5)
    assert first.json() == WORLD.catalog(board.now)
    assert first.headers["Content-Encoding"] == "gzip"
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    second = requests.get(board.catalog_url, headers=since, timeout=5)
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["Last-Modified"] == first.headers["Last-Modified"]
    board.now += timedelta(hours=1)
    third = requests.get(board.catalog_url, headers=since, timeout=5)
    assert third.status_code == 200
    assert third.headers["Last-Modified"] > ""
    assert [request.status for request in board.requests] == [200, 304, 200]


def test_the_date_of_change_moves_exactly_when_the_content_does(board: SimulatedBoard) -> None:
    seen: list[tuple[str, bytes]] = []
    for _ in range(120):
        page = board.page("/biz/catalog.json", "")
        assert page is not None
        seen.append((page.last_modified or "", page.body))
        board.now += timedelta(seconds=1)
    pairs = list(pairwise(seen))
    assert all((before[0] == after[0]) == (before[1] == after[1]) for before, after in pairs)
    assert 0 < sum(before == after for before, after in pairs) < len(pairs)


def test_a_head_request_has_no_body_and_what_is_missing_is_an_html_404(board: SimulatedBoard) -> None:
    head = requests.head(board.catalog_url, timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    for path in ("/g/catalog.json", "/biz/1234567890123s.jpg", "/biz/9999999999999999.png", "/"):
        answer = requests.get(f"{board.url}{path}", timeout=5)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (404, "text/html")


def test_the_other_lists_agree_with_the_catalogue(board: SimulatedBoard) -> None:
    shown = [entry["no"] for page in WORLD.catalog(board.now) for entry in page["threads"]]
    listed = requests.get(f"{board.url}/biz/threads.json", timeout=5).json()
    assert [entry["no"] for page in listed for entry in page["threads"]] == shown
    archived = requests.get(f"{board.url}/biz/archive.json", timeout=5).json()
    assert archived == sorted(archived)
    assert archived
    assert not set(archived) & set(shown)


def test_pictures_are_real_always_the_same_and_as_large_as_announced(board: SimulatedBoard) -> None:
    kinds, charts = set(), 0
    for thread in WORLD.threads_between(board.now - timedelta(hours=3), board.now):
        if thread.file_deleted_at is not None:
            continue
        full = requests.get(f"{board.url}/biz/{thread.tim}{thread.extension}", timeout=5).content
        thumbnail = requests.get(f"{board.url}/biz/{thread.tim}s.jpg", timeout=5).content
        image = Image.open(BytesIO(full))
        assert image.size == (thread.width, thread.height)
        assert max(Image.open(BytesIO(thumbnail)).size) == 250
        kinds.add(image.format)
        plan = plan_of(thread)
        if plan.kind == "chart" and plan.stance in ("bearish", "bullish"):
            red, green = _most_colourful(image)
            assert (green > red) == (thread.stance == "bullish")
            charts += 1
    assert charts > 0
    assert kinds == {"JPEG", "PNG"}
    missing = requests.get(f"{board.url}/biz/{thread.tim}{'.png' if thread.extension == '.jpg' else '.jpg'}", timeout=5)
    assert missing.status_code == 404


def _most_colourful(image: Image.Image) -> tuple[int, int]:
    pixels = np.asarray(image.convert("RGB"), dtype=int).reshape(-1, 3)
    red, green, _ = pixels[np.argmax(np.ptp(pixels, axis=1))]
    return int(red), int(green)


def test_a_deleted_file_is_gone_and_a_coming_one_not_there_yet(board: SimulatedBoard) -> None:
    thread = next(each for each in WORLD.threads_between(START, START + timedelta(days=5)) if each.file_deleted_at)
    assert thread.file_deleted_at is not None
    url = f"{board.url}/biz/{thread.tim}{thread.extension}"
    statuses = []
    for moment in (
        thread.posted_at - timedelta(1),
        thread.posted_at + timedelta(seconds=1),
        thread.file_deleted_at,
    ):
        board.now = moment
        statuses.append(requests.get(url, timeout=5).status_code)
    assert statuses == [404, 200, 404]


def test_too_quick_clients_and_outages_are_refused(board: SimulatedBoard) -> None:
    board.enforce_seconds, board.retry_after = 60, "1"
    answers = [requests.get(board.catalog_url, timeout=5) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"] == "1"
    board.enforce_seconds = 0.2
    time.sleep(0.21)
    assert requests.get(board.catalog_url, timeout=5).status_code == 200
    board.enforce_seconds = None
    board.outages.append((board.now, board.now + timedelta(minutes=5)))
    assert requests.get(board.catalog_url, timeout=5).status_code == 503
    board.now += timedelta(minutes=5)
    assert requests.get(board.catalog_url, timeout=5).status_code == 200


def test_faults_are_what_they_are_called(board: SimulatedBoard) -> None:
    board.fail_next("403", "html", "malformed", "truncated gzip", "reset", "truncated", "hang")
    assert requests.get(board.catalog_url, timeout=5).status_code == 403
    assert requests.get(board.catalog_url, timeout=5).text.startswith("<!DOCTYPE html>")
    malformed = requests.get(board.catalog_url, timeout=5)
    assert malformed.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        malformed.json()
    raw = requests.get(board.catalog_url, stream=True, timeout=5).raw.read(decode_content=False)
    with pytest.raises(EOFError):
        gzip.decompress(raw)
    for _ in range(2):
        with pytest.raises(requests.RequestException):
            requests.get(board.catalog_url, timeout=5)
    with pytest.raises(requests.ReadTimeout):
        requests.get(board.catalog_url, timeout=0.2)
    assert requests.get(board.catalog_url, timeout=5).status_code == 200


def test_the_server_listens_on_loopback_only_and_ends_with_its_block() -> None:
    with SimulatedBoard(WORLD) as server:
        host, port = server.url.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
