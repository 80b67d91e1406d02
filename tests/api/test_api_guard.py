"""Who may ask the API and how often, what its answers allow a browser, and what it does while the database is busy."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from api_world import Api, api

from bizcharts_pipeline.api.rate_limit import MAX_CLIENTS, RateLimit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("guard") / "home.duckdb") as served_api:
        yield served_api


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:x", "evil@127.0.0.1"])
def test_the_api_answers_to_its_own_names_only(world: Api, host: str) -> None:
    answer = world.get("/v1/index", Host=host)
    assert (answer.status, answer.json["error"]["status"]) == (421, 421)
    for own in ("localhost", f"LOCALHOST:{world.port}", "[::1]:1", "charts.example.org"):
        assert world.get("/v1/index?limit=1", Host=own).status == 200


def test_no_page_of_another_origin_reads_the_api(world: Api) -> None:
    assert world.get("/v1/index", Origin="https://evil.example").status == 403
    assert world.get("/v1/index", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert world.get("/v1/metrics", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors").status == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert world.get("/v1/index", **link).status == 200
    for path in ("/v1/index", "/v1/badge.svg", "/v1/embed"):
        answer = world.get(path, Origin=f"http://127.0.0.1:{world.port}")
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_other_sites_may_show_badge_and_embed_and_nothing_else(world: Api) -> None:
    for path in ("/v1/badge.svg", "/v1/embed"):
        answer = world.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
        assert (answer.status, answer.headers["cross-origin-resource-policy"]) == (200, "cross-origin")
    assert "frame-ancestors" not in world.get("/v1/embed").headers["content-security-policy"]
    for path in ("/v1/index", "/v1/feed.atom", "/v1/nothing", "/v1/index?limit=x"):
        answer = world.get(path)
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/v1/index", "/v1/embed", "/v1/badge.svg", "/v1/nothing", "/", "/v1/index?limit=x"])
def test_every_answer_forbids_a_browser_what_it_does_not_need(world: Api, path: str) -> None:
    headers = world.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "set-cookie" not in headers


def test_a_client_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb", requests_per_minute=3) as world:
        assert [world.get("/v1/badge.svg").status for _ in range(3)] == [200] * 3
        refused = world.get("/v1/badge.svg")
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert f"ask again in {refused.headers['retry-after']} s" in refused.json["error"]["message"]


def test_the_rate_limit_is_per_client_refills_and_remembers_no_more_than_its_most() -> None:
    now = [0.0]
    limit = RateLimit(2, lambda: now[0])
    assert [limit.wait_seconds("a") for _ in range(3)] == [0, 0, 30]
    assert limit.wait_seconds("b") == 0
    now[0] = 29.0
    assert limit.wait_seconds("a") == 1
    now[0] = 30.0
    assert [limit.wait_seconds("a"), limit.wait_seconds("a")] == [0, 30]
    for number in range(MAX_CLIENTS + 10):
        limit.wait_seconds(str(number))
    assert len(limit._clients) == MAX_CLIENTS


@contextmanager
def held(world: Api) -> Iterator[None]:
    """Another process has the database open, as a shell that was left open does."""
    program = "import duckdb, sys; shell = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with Popen([sys.executable, "-c", program, str(world.database.path)], stdin=PIPE, stdout=PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def test_while_the_database_is_busy_it_says_when_to_ask_again(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb", wait_seconds=0.05) as world:
        with held(world):
            for path in ("/v1/index", "/v1/health", "/v1/badge.svg", "/v1/metrics"):
                answer = world.get(path)
                assert (answer.status, answer.headers["retry-after"]) == (503, "2")
                assert answer.json["error"]["message"] == "The database is busy."
        assert world.get("/v1/index").status == 200


def test_a_request_that_waits_for_the_database_holds_up_no_other(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb") as world, ThreadPoolExecutor(3) as clients:
        with held(world):
            waiting = [clients.submit(world.get, "/v1/index") for _ in range(3)]
            assert world.get("/v1/openapi.json").status == 200
            assert not any(request.done() for request in waiting)
        assert [request.result().status for request in waiting] == [200] * 3


def test_a_database_that_cannot_be_read_gives_no_path_and_no_traceback(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb") as world:
        world.database.path.write_bytes(b"no database" * 1000)
        answer = world.get("/v1/index")
        assert answer.status == 503
        assert str(tmp_path) not in answer.text
        assert "Traceback" not in answer.text


def test_a_fault_of_the_program_gives_no_traceback(world: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("bizcharts_pipeline.warehouse.as_of.newest_readings", fails)
    answer = world.get("/v1/index")
    assert (answer.status, answer.json["error"]["status"]) == (500, 500)
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
