import http.client
import json
import re
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from labeller_world import Home, Labeller, fill, held, labeller, until

from bizcharts_pipeline.clock import utc_now

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
        self.csrf = ""
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
        return self.ask(ASKED, Cookie=self.cookie).json

    def label(self, thread_id: int, rating: int | None, **more: object) -> Answer:
        body = {"thread_id": thread_id, "rating": rating, "labeled_at": utc_now().isoformat() + "Z"} | more
        return self.post("labels", body)

    def post(self, path: str, body: object) -> Answer:
        return self.ask(f"POST /api/labeller/{path}", body, Cookie=self.cookie, X_BizCharts_CSRF=self.csrf)


@pytest.fixture
def caller(home: Home) -> Iterator[Caller]:
    fill(home, 40, 3)
    with labeller(home.path) as server:
        caller = Caller(server)
        until(lambda: caller.view()["state"] == "ready")
        yield caller


def test_the_token_becomes_a_cookie_that_no_script_can_read(caller: Caller) -> None:
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
def test_strangers_are_refused(caller: Caller, home: Home, what: str, headers: dict[str, str]) -> None:
    first = caller.view()["upcoming"][0]["thread_id"]
    caller.label(first, 1)
    known = {"cookie": caller.cookie, "name": caller.cookie.split("=")[0], "csrf": caller.csrf, "token": caller.token}
    body = {"keys": 1} if what.startswith("POST") else None
    answer = caller.ask(what.format(**known), body, **{name: value.format(**known) for name, value in headers.items()})
    assert answer.status in (403, 421)
    assert "set-cookie" not in answer.headers
    assert len(home.ledger.standing()) == 1


def test_a_request_that_is_sent_twice_is_one_label_and_one_undo(caller: Caller, home: Home) -> None:
    thread = caller.view()["upcoming"][0]["thread_id"]
    at = utc_now().isoformat(timespec="milliseconds") + "Z"
    answers = [caller.label(thread, 3, labeled_at=at) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["upcoming"] == answers[1].json["upcoming"]
    caller.label(answers[0].json["upcoming"][0]["thread_id"], 1)
    assert len(home.ledger.all()) == 2
    for _ in range(2):
        caller.post("undo", {"keys": 2})
    assert [label.thread_id for label in home.ledger.standing()] == [thread]


def test_only_what_was_offered_can_be_labelled(caller: Caller, home: Home) -> None:
    thread = caller.view()["upcoming"][0]["thread_id"]
    assert caller.label(1, 3).status == 409
    assert caller.label(thread, 4).status == 422
    assert caller.label(thread, 1, flag="illegal").status == 409
    assert caller.label(thread, 1, flag="other").status == 422
    assert caller.label(thread, 1, labeled_at="2020-01-01T00:00:00Z").status == 409
    assert caller.label(thread, 1, notes="x" * 70_000).status == 413
    assert home.ledger.count() == 0


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
