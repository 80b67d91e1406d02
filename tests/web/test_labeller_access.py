import http.client
import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from socket import create_connection
from typing import Any, NamedTuple

import pytest
from labeller_world import Home, Labeller, fill, held, labeller, until

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.warehouse.locks import lock_path
from bizcharts_pipeline.withdrawals import block_flagged

ASKED = "GET /api/labeller/view"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class Caller:
    """A client that sends what it is told, browser or not."""

    def __init__(self, server: Labeller) -> None:
        self.port = int(server.origin.rsplit(":", 1)[1])
        self.token = server.address.split("token=")[1]
        entered = self.ask(f"GET /?token={self.token}")
        self.cookie = entered.headers["set-cookie"].split(";")[0]
        self.entered = entered
        self.csrf, self.keys = "", 0
        self.csrf = self.ask("GET /api/labeller/sitting", Cookie=self.cookie).json["csrf"]

    def ask(self, what: str, body: object = None, **headers: str) -> Answer:
        method, path = what.split(" ")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"} | sent)
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read().decode(errors="replace"),
        )
        connection.close()
        return answer

    def view(self) -> dict[str, Any]:
        view = self.ask(ASKED, Cookie=self.cookie).json
        self.keys = view["progress"]["keys"]
        return view

    def label(self, thread_id: int, rating: int | None, **more: object) -> Answer:
        at = utc_now().isoformat() + "Z"
        answer = self.post(
            "labels", {"thread_id": thread_id, "rating": rating, "labeled_at": at, "keys": self.keys} | more
        )
        if answer.status == 200:
            self.keys = answer.json["progress"]["keys"]
        return answer

    def post(self, path: str, body: object) -> Answer:
        return self.ask(f"POST /api/labeller/{path}", body, Cookie=self.cookie, X_BizCharts_CSRF=self.csrf)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caller, Home]]:
    """One server for all who come in vain, with one label."""
    home = Home(tmp_path_factory.mktemp("home"))
    fill(home, 40, 0)
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["state"] == "ready")
        caller.label(caller.view()["upcoming"][0]["thread_id"], 1)
        yield caller, home


@pytest.fixture
def caller(home: Home) -> Iterator[Caller]:
    fill(home, 40, 3)
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["state"] == "ready")
        yield caller


@pytest.mark.slow
def test_the_token_becomes_a_cookie_that_no_script_can_read(stranger: tuple[Caller, Home]) -> None:
    caller, _ = stranger
    assert caller.entered.status == 303
    assert caller.entered.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=Strict"} <= set(caller.entered.headers["set-cookie"].split("; "))
    assert caller.token not in caller.entered.headers["set-cookie"]
    page = caller.ask("GET /", Cookie=caller.cookie)
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", page.body)
    for name in ("labeller.js", "labeller.css"):
        assert "://" not in caller.ask(f"GET /static/{name}", Cookie=caller.cookie).body


@pytest.mark.parametrize(
    ("what", "headers"),
    [
        ("GET /?token=wrong", {}),
        ("GET /", {}),
        ("GET /static/labeller.js", {}),
        (ASKED, {}),
        (ASKED, {"Cookie": "{name}=wrong"}),
        (ASKED, {"Cookie": "{cookie}", "Host": "evil.example"}),
        (ASKED, {"Cookie": "{cookie}", "Host": "127.0.0.1:1"}),
        (ASKED, {"Cookie": "{cookie}", "Origin": "https://evil.example"}),
        (ASKED, {"Cookie": "{cookie}", "Origin": "null"}),
        ("POST /api/labeller/undo", {"Cookie": "{cookie}"}),
        ("POST /api/labeller/undo", {"Cookie": "{cookie}", "X_BizCharts_CSRF": "wrong"}),
        ("POST /api/labeller/undo", {"Cookie": "{cookie}", "X_BizCharts_CSRF": "{csrf}", "Origin": "http://evil"}),
        ("GET /?token={token}", {"Host": "rebound.example"}),
    ],
)
def test_strangers_are_refused(stranger: tuple[Caller, Home], what: str, headers: dict[str, str]) -> None:
    caller, home = stranger
    known = {"cookie": caller.cookie, "name": caller.cookie.split("=")[0], "csrf": caller.csrf, "token": caller.token}
    body = {"keys": 1} if what.startswith("POST") else None
    answer = caller.ask(what.format(**known), body, **{name: value.format(**known) for name, value in headers.items()})
    assert answer.status in (403, 421)
    assert "set-cookie" not in answer.headers
    assert len(home.ledger.standing()) == 1


def test_a_request_that_names_two_hosts_is_refused(stranger: tuple[Caller, Home]) -> None:
    caller, _ = stranger
    with create_connection(("127.0.0.1", caller.port), timeout=10) as connection:
        hosts = f"Host: evil.example\r\nHost: 127.0.0.1:{caller.port}\r\n"
        connection.sendall(f"GET / HTTP/1.1\r\n{hosts}Cookie: {caller.cookie}\r\nConnection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"400"


@pytest.mark.parametrize(
    "neighbour",
    [
        'data={"a": 1, "b": "x"}',
        "a b=c",
        'broken="\\',
        "=; ;;",
        "\x80=\xff",
        "no sign",
        "x=" + 2000 * "y",
        "{name}=another",
        "$Version=1; bad[name]=1,2",
    ],
)
def test_a_neighbours_cookie_locks_nobody_out(stranger: tuple[Caller, Home], neighbour: str) -> None:
    caller, _ = stranger
    other = neighbour.replace("{name}", caller.cookie.split("=")[0])
    for sent in (f"{other}; {caller.cookie}", f"{caller.cookie}; {other}"):
        assert caller.ask(ASKED, Cookie=sent).status == 200, sent
    assert caller.ask(ASKED, Cookie=other).status == 403


def test_without_the_token_the_page_says_what_to_do(stranger: tuple[Caller, Home]) -> None:
    answer = stranger[0].ask("GET /")
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "?token=" in answer.body
    assert "bizcharts label" in answer.body


@pytest.mark.slow
def test_a_request_that_is_sent_twice_is_one_label_and_one_undo(caller: Caller, home: Home) -> None:
    thread = caller.view()["upcoming"][0]["thread_id"]
    at = utc_now().isoformat(timespec="milliseconds") + "Z"
    answers = [caller.label(thread, 3, labeled_at=at, keys=0) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["upcoming"] == answers[1].json["upcoming"]
    caller.label(answers[0].json["upcoming"][0]["thread_id"], 1)
    assert len(home.ledger.all()) == 2
    for _ in range(2):
        caller.post("undo", {"keys": 2})
    assert [label.thread_id for label in home.ledger.standing()] == [thread]


def test_only_what_was_offered_can_be_labelled(stranger: tuple[Caller, Home]) -> None:
    caller, home = stranger
    thread = caller.view()["upcoming"][0]["thread_id"]
    assert caller.label(1, 3).status == 409
    assert caller.label(thread, 4).status == 422
    assert caller.label(thread, 1, flag="illegal").status == 409
    assert caller.label(thread, 1, flag="other").status == 422
    assert caller.label(thread, 1, labeled_at="2020-01-01T00:00:00Z").status == 409
    assert caller.label(thread, 1, notes="x" * 70_000).status == 413
    assert len(home.ledger.standing()) == 1


def test_what_no_page_sends_is_refused_and_harms_nothing(stranger: tuple[Caller, Home]) -> None:
    caller, home = stranger
    thread = caller.view()["upcoming"][0]["thread_id"]
    bad: list[dict[str, object]] = [
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"notes": "a\ud800b"},
        {"thread_id": 10**30},
        {"thread_id": -1},
        {"thread_id": True},
        {"labeled_at": "0001-01-01T00:00:00+14:00"},
        {"rating": True},
        {"keys": True},
        {"keys": -1},
        {"\udfff": 1},
    ]
    sound = {"thread_id": thread, "rating": 1, "labeled_at": utc_now().isoformat(), "keys": 1}
    for body in bad:
        answer = caller.post("labels", sound | body)
        assert (answer.status, bool(answer.json["error"])) == (422, True), body
    assert caller.post("labels", "{").status == 422
    assert caller.post("undo", {"keys": True}).status == 422
    assert caller.ask(f"GET /api/labeller/history?before={10**30}", Cookie=caller.cookie).status == 422
    assert caller.ask(f"GET /api/labeller/pictures/{10**30}", Cookie=caller.cookie).status == 404
    assert caller.post("labels", sound).status == 200
    assert caller.post("undo", {"keys": 2}).status == 200
    assert len(home.ledger.standing()) == 1


@pytest.mark.slow
def test_who_does_not_know_the_last_key_changes_nothing_and_is_told_how_things_stand(
    caller: Caller, home: Home
) -> None:
    first, second = (post["thread_id"] for post in caller.view()["upcoming"][:2])
    caller.label(first, 1)
    for answer in (caller.label(first, 3, keys=0), caller.post("undo", {"keys": 0}), caller.post("undo", {"keys": 2})):
        assert answer.status == 409
        assert "another tab" in answer.json["error"]
        assert answer.json["view"]["upcoming"][0]["thread_id"] == second
        assert answer.json["view"]["progress"]["keys"] == 1
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.standing()] == [(first, 1)]


@pytest.mark.slow
def test_while_the_ledger_is_held_a_key_fails_soon_and_nothing_else_waits(caller: Caller, home: Home) -> None:
    first, second = (post["thread_id"] for post in caller.view()["upcoming"][:2])
    caller.label(first, 1)
    with closing(sqlite3.connect(home.ledger.path, isolation_level=None)) as other, ThreadPoolExecutor() as beside:
        other.execute("BEGIN IMMEDIATE")
        pending = beside.submit(caller.label, second, 2)
        answered = 0
        while not pending.done():
            assert caller.view()["upcoming"][0]["thread_id"] == second
            answered += not pending.done()
        assert answered > 10
        assert pending.result().status == 503
        assert "locked" in pending.result().json["error"]
        other.execute("ROLLBACK")
    assert caller.label(second, 2).status == 200
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.all()] == [(first, 1), (second, 2)]


@pytest.mark.parametrize(
    ("filters", "posts", "heading", "text"),
    [
        ({}, 0, "No posts yet.", "empty"),
        ({"first": date(2030, 1, 1)}, 3, "No posts.", "--from"),
        ({"queue": True}, 3, "The queue is empty.", "labelling"),
        ({}, 1, "Nothing left.", "labelled"),
        ({}, None, "The database cannot be read.", "bizcharts.duckdb"),
    ],
)
def test_a_page_without_a_post_says_why(
    home: Home, filters: dict[str, Any], posts: int | None, heading: str, text: str
) -> None:
    if posts is None:
        home.database.path.write_bytes(b"no database" * 1000)
        lock_path(home.database.path).touch()  # it has been one
    else:
        fill(home, posts, 0)
    with labeller(home.path, **filters) as server:
        caller = Caller(server)
        until(lambda: caller.view()["progress"]["left"] is not None or bool(caller.view()["progress"]["database"]))
        if heading == "Nothing left.":
            until(lambda: caller.view()["state"] == "ready")
            caller.label(caller.view()["upcoming"][0]["thread_id"], 1)
        notice = caller.view()["notice"]
    assert notice[0] == heading
    assert text in notice[1]


def test_what_was_flagged_as_illegal_goes_also_where_the_same_person_rated_the_post_later(home: Home) -> None:
    thread = fill(home, 1, 1)[0]
    home.ledger.append(
        [
            Label(thread, None, "ann", utc_now() - timedelta(hours=1), skipped=True, flag="illegal"),
            Label(thread, 2, "ann", utc_now()),
        ]
    )
    assert block_flagged(home.database, home.path, utc_now(), dry_run=True) == 1
    assert block_flagged(home.database, home.path, utc_now()) == 1
    assert not list((home.path / "images").glob("??/??/*"))


@pytest.mark.slow
def test_while_the_database_is_held_labelling_goes_on_with_what_is_ready(home: Home) -> None:
    fill(home, 600, 0)
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["progress"]["ready"] == 400)
        with held(home.database):
            view = caller.view()
            for _ in range(130):
                view = caller.label(view["upcoming"][0]["thread_id"], 2).json
            assert view["progress"]["ready"] == 270
            assert view["progress"]["left"] == 470
            until(lambda: "busy" in (caller.view()["progress"]["database"] or ""))
        until(lambda: caller.view()["progress"]["ready"] == 400)
        assert caller.view()["progress"]["database"] is None
    assert len({label.thread_id for label in home.ledger.all()}) == 130


@pytest.mark.slow
def test_ctrl_c_ends_it_in_silence_and_the_token_is_printed_once(home: Home) -> None:
    fill(home, 20, 0)
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["state"] == "ready")
        caller.ask("GET /nowhere", Cookie=caller.cookie)
        server.process.send_signal(signal.SIGINT)
        said, errors = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert errors == ""
    assert caller.token not in said


@pytest.mark.slow
def test_only_files_of_the_store_are_served(home: Home) -> None:
    threads = fill(home, 8, 8)
    (home.path / "secret.jpg").write_bytes(b"secret")
    other, wanted = sorted((home.path / "images").glob("??/??/*"))[:2]
    paths = ["secret.jpg", "../../etc/passwd", "/etc/passwd", "images", str(other.relative_to(home.path))]
    with home.database.write() as connection:
        for thread, path in zip(threads, paths, strict=False):
            connection.execute(
                f"UPDATE thumbnails SET path = '{path}', sha256 = '{wanted.stem}' WHERE thread_id = {thread}"
            )
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["progress"]["ready"] == 8)
        answers = [caller.ask(f"GET /api/labeller/pictures/{thread}", Cookie=caller.cookie) for thread in threads]
        assert [answer.status for answer in answers] == [404] * 5 + [200] * 3
        assert answers[5].headers["content-type"] == "image/jpeg"
        assert caller.ask("GET /api/labeller/pictures/1", Cookie=caller.cookie).status == 404
