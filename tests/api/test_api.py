"""What the API answers: the tables' rows, as of any moment, in pages, with validators, and refusals in plain words."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from api_world import HOSTILE, NOW, T0, Api, api
from installation import REPOSITORY
from published_rows import DAY, HOUR, insert_index, published_hour
from pydantic import TypeAdapter

from bizcharts_pipeline.api.schema import (
    CandlesAnswer,
    CoinsAnswer,
    CopiesAnswer,
    ErrorAnswer,
    GeneralsAnswer,
    HealthAnswer,
    IndexAnswer,
    ShillingAnswer,
    SwitchesAnswer,
)
from bizcharts_pipeline.warehouse.as_of import candles, coin_board, index_series

ROWS = (
    "/v1/index",
    "/v1/coins",
    "/v1/coins/BTC",
    "/v1/switches",
    "/v1/candles",
    "/v1/generals",
    "/v1/shilling",
    "/v1/copies",
)
CACHED = (*ROWS, "/v1/badge.svg", "/v1/embed", "/v1/feed.atom")
EVERY = (*CACHED, "/v1/health", "/v1/metrics")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api") / "home.duckdb") as served_api:
        yield served_api


def iso(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"


def starts(rows: list[dict[str, str]], name: str = "bucket_start") -> list[datetime]:
    return [datetime.fromisoformat(row[name]).replace(tzinfo=None) for row in rows]


def test_the_index_is_the_tables_newest_vintages(world: Api) -> None:
    answer = world.get("/v1/index")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (answer.json["version"], answer.json["as_of"], answer.json["next"]) == (1, None, None)
    with world.database.read() as connection:
        expected = index_series(connection, "hour", T0, NOW)
    plain = json.loads(json.dumps([vars(row) for row in expected], default=iso))
    assert answer.rows == plain
    assert len(plain) == 73
    assert answer.rows[10]["value"] == 99
    assert [row["value"] for row in world.get("/v1/index?bucket=day").rows] == [20, 21, 80]


def test_a_switch_of_the_model_is_published_with_its_first_reading(world: Api) -> None:
    (switch,) = world.get("/v1/switches").rows
    assert (switch["switched_at"], switch["published_at"]) == (iso(T0 + HOUR), iso(NOW - HOUR))
    assert (switch["model_version"], switch["former"], switch["shift"]) == (HOSTILE[0], "lexicon", -7.5)
    (known,) = world.get(f"/v1/switches?as_of={iso(NOW - DAY)}").rows
    assert known == switch | {"published_at": None}
    assert world.get(f"/v1/switches?as_of={iso(T0)}").rows == []


def test_as_of_gives_what_was_computed_and_knowable_then(world: Api) -> None:
    moment = T0 + 12 * HOUR
    answer = world.get(f"/v1/index?as_of={iso(moment)}")
    assert answer.json["as_of"] == iso(moment)
    assert starts(answer.rows) == [T0 + n * HOUR for n in range(11)]  # the twelfth was computed three minutes later
    assert answer.rows[10]["value"] == 70
    assert all(row["computed_at"] <= iso(moment) >= row["knowable_at"] for row in answer.rows)
    assert [row["value"] for row in world.get(f"/v1/index?bucket=day&as_of={iso(T0 + 1.5 * DAY)}").rows] == [20]
    assert world.get(f"/v1/coins?as_of={iso(T0 + 1.5 * DAY)}").rows[0]["bucket_start"] == iso(T0)
    assert "no data yet" in world.get(f"/v1/badge.svg?as_of={iso(T0)}").text
    assert world.get(f"/v1/health?as_of={iso(T0)}").json["status"] == "empty"
    assert "bizcharts_index_value 70.0" in world.get(f"/v1/metrics?as_of={iso(moment)}").text
    assert "<entry>" not in world.get(f"/v1/feed.atom?as_of={iso(T0 + 2.5 * DAY)}").text


def test_the_coins_are_the_newest_buckets_and_a_coin_has_its_series(world: Api) -> None:
    board = world.get("/v1/coins").rows
    with world.database.read() as connection:
        assert [row["coin_symbol"] for row in board] == [row.coin_symbol for row in coin_board(connection, "day")]
    assert board[0]["coin_symbol"] == "BTC"
    assert starts(world.get("/v1/coins/BTC?bucket=day").rows) == [T0 + n * DAY for n in range(3)]
    assert (
        world.get(f"/v1/coins/BTC?from={iso(T0 + DAY)}&to={iso(T0 + DAY + 2 * HOUR)}").json["rows"][1]["mentions"] == 40
    )
    unknown = world.get("/v1/coins/NOPE")
    assert (unknown.status, unknown.json["error"]["parameter"]) == (404, "symbol")
    assert world.get(f"/v1/coins/BTC?as_of={iso(T0)}").status == 404


def test_a_candle_has_what_was_knowable_at_its_open_and_a_gap_is_a_row_of_nulls(world: Api) -> None:
    asked = f"/v1/candles?from={iso(T0)}&to={iso(T0 + 5 * HOUR)}"
    rows = world.get(asked).rows
    assert starts(rows, "open") == [T0 + n * HOUR for n in range(5)]
    # The hour that ended at the open was known half a minute later.
    assert [row["value"] for row in rows] == [None, None, 0, 7, 14]
    assert rows[2]["knowable_at"] <= rows[2]["open"]
    assert set(rows[0].values()) == {iso(T0), None}
    quarter = world.get(f"/v1/candles?timeframe=15m&from={iso(T0 + HOUR)}&to={iso(T0 + 2 * HOUR)}").rows
    assert [row["value"] for row in quarter] == [None, 0, 0, 0]
    days = world.get("/v1/candles?timeframe=1d&limit=3").rows
    assert starts(days, "open") == [T0 + n * DAY for n in (1, 2, 3)]
    weeks = world.get("/v1/candles?timeframe=1w&limit=2").rows
    assert starts(weeks, "open") == [T0 - 7 * DAY, T0]
    with world.database.read() as connection:
        expected = candles(connection, 4 * HOUR, T0, T0 + 3 * DAY)
    rows = world.get(f"/v1/candles?timeframe=4h&from={iso(T0 - timedelta(minutes=1))}").rows
    assert rows == json.loads(json.dumps([vars(row) for row in expected], default=iso))


def test_no_candle_opens_after_the_moment_that_is_asked_for(world: Api) -> None:
    assert starts(world.get("/v1/candles?limit=1").rows, "open") == [T0 + 3 * DAY]
    past = world.get(f"/v1/candles?limit=1&as_of={iso(T0 + 5.5 * HOUR)}").rows
    assert starts(past, "open") == [T0 + 5 * HOUR]
    assert world.get(f"/v1/candles?from={iso(NOW + DAY)}").rows == []


@pytest.mark.parametrize("path", ["/v1/index", "/v1/coins/BTC", "/v1/candles"])
@pytest.mark.parametrize("begin", ["", f"&from={iso(T0)}"])
def test_pages_follow_one_another_and_hold_every_row_once(world: Api, path: str, begin: str) -> None:
    name = "open" if path.endswith("candles") else "bucket_start"
    whole = world.get(f"{path}?limit=10000{begin}").rows
    following: str | None = f"{path}?limit=20{begin}"
    pages = []
    while following:
        answer = world.get(following)
        assert len(answer.rows) <= 20
        pages.append(answer.rows)
        following = answer.json["next"]
        assert len(pages) < 20
    rows = sorted((row for page in pages for row in page), key=lambda row: str(row[name]))
    first = rows[0][name]
    assert rows == [row for row in whole if row[name] >= first]
    assert T0 - HOUR * 20 <= starts(rows, name)[0] <= T0
    assert len(rows) >= 72


@pytest.mark.parametrize("begin", ["", f"&from={iso(T0)}"])
def test_the_last_page_leads_to_no_other_even_if_it_is_full(world: Api, begin: str) -> None:
    count = len(world.get(f"/v1/index?limit=10000{begin}").rows)
    assert world.get(f"/v1/index?limit={count}{begin}").json["next"] is None
    following = world.get(f"/v1/index?limit={count - 1}{begin}").json["next"]
    assert len(world.get(following).rows) == 1


@pytest.mark.parametrize("path", CACHED)
def test_an_unchanged_answer_is_304_and_a_new_row_makes_a_new_etag(tmp_path: Path, path: str) -> None:
    with api(tmp_path / "home.duckdb") as world:
        first = world.get(path)
        assert re.fullmatch(r'"[0-9a-f]{32}"', first.headers["etag"])
        assert first.headers["cache-control"] == "public, max-age=30"
        unchanged = world.get(path, If_None_Match=f'"other", W/{first.headers["etag"]}')
        assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", first.headers["etag"])
        past = world.get(f"{path}?as_of={iso(T0 + 1.9 * DAY)}").headers
        assert past["cache-control"] == "public, max-age=3600"
        with world.database.write() as connection:
            insert_index(connection, [published_hour(T0 + 200 * HOUR)])
        again = world.get(path, If_None_Match=first.headers["etag"])
        assert (again.status, again.headers["etag"] != first.headers["etag"]) == (200, True)
        assert world.get(f"{path}?as_of={iso(T0 + 1.9 * DAY)}").headers["etag"] == past["etag"]


def test_an_etag_is_of_one_question(world: Api) -> None:
    asked = [
        *CACHED,
        "/v1/index?limit=2",
        "/v1/index?bucket=day",
        f"/v1/index?from={iso(T0)}",
        "/v1/candles?timeframe=4h",
    ]
    asked += [f"{path}?as_of={iso(NOW - DAY)}" for path in CACHED]
    tags = [world.get(path).headers["etag"] for path in asked]
    assert len(set(tags)) == len(asked)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("as_of=yesterday", "as_of"),
        ("as_of=2026-03-02T00:00:00+00:00", "as_of"),  # the plus is a blank in a query
        ("as_of=1772409600", "as_of"),
        ("as_of=0001-01-01T00:00:00%2B14:00", "as_of"),
        ("as_of=9999-12-31", "as_of"),
        (f"as_of={iso(NOW + timedelta(seconds=1))}", "as_of"),
        ("as_of=" + "1" * 500, "as_of"),
        ("asof=2026-03-02", "asof"),
        ("as_of=2026-03-02&as_of=2026-03-03", "as_of"),
        ("%3Cscript%3E=1", "<script>"),
    ],
)
def test_a_bad_parameter_is_named_in_a_plain_sentence(world: Api, query: str, parameter: str) -> None:
    for path in EVERY:
        answer = world.get(f"{path}?{query}")
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json"), answer.text
        error = TypeAdapter(ErrorAnswer).validate_json(answer.body).error
        assert (error.status, error.parameter) == (400, parameter)
        assert re.fullmatch(r"[A-Z].*\.", error.message)
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/index?bucket=minute", "bucket"),
        ("/v1/index?limit=10001", "limit"),
        ("/v1/index?limit=0", "limit"),
        ("/v1/index?limit=1e3", "limit"),
        ("/v1/index?start=2026-03-02", "start"),
        ("/v1/index?from=2026-03-03&to=2026-03-02", "to"),
        ("/v1/candles?timeframe=7h", "timeframe"),
        ("/v1/candles?from=1969-01-01", "from"),
        ("/v1/coins?limit=5", "limit"),
        ("/v1/generals?days=31", "days"),
        ("/v1/copies?days=0", "days"),
    ],
)
def test_a_value_out_of_range_is_refused(world: Api, path: str, parameter: str) -> None:
    answer = world.get(path)
    assert (answer.status, answer.json["error"]["parameter"]) == (400, parameter)


def test_every_answer_has_the_form_that_openapi_describes(world: Api) -> None:
    described = world.get("/v1/openapi.json").json
    assert {f"/v1{path}" for path in described["paths"]} == {*EVERY, "/v1/coins/{symbol}"} - {"/v1/coins/BTC"}
    assert described["servers"] == [{"url": "/v1"}]
    for path, model in zip(
        (*ROWS, "/v1/health"),
        (
            *(
                IndexAnswer,
                CoinsAnswer,
                CoinsAnswer,
                SwitchesAnswer,
                CandlesAnswer,
                GeneralsAnswer,
                ShillingAnswer,
                CopiesAnswer,
            ),
            HealthAnswer,
        ),
        strict=True,
    ):
        TypeAdapter(model).validate_json(world.get(path).body)
    for operations in described["paths"].values():
        assert "as_of" in [parameter["name"] for parameter in operations["get"]["parameters"]]


def test_other_paths_and_methods_are_refused_in_json(world: Api) -> None:
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/v2/index", "/docs", "/v1/docs", "/v1/coins/", "/v1/../etc"):
        answer = world.get(path)
        assert (answer.status, answer.json["error"]["status"]) == (404, 404), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        answer = world.get("/v1/index", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), method
    head = world.get("/v1/index", "HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", world.get("/v1/index").headers["etag"])
    assert world.get("/v1/index?from=" + "x" * 3000).status == 414


def test_health_is_503_where_the_index_is_stale_or_empty(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb") as world:
        answer = world.get("/v1/health")
        assert (answer.status, answer.json["status"], answer.json["age_seconds"]) == (200, "ok", 0)
        assert answer.headers["cache-control"] == "no-store"
        world.now[0] = NOW + timedelta(hours=2, seconds=1)
        stale = world.get("/v1/health")
        assert (stale.status, stale.json["status"]) == (503, "stale")
    with api(tmp_path / "empty.duckdb", filled=False) as world:
        assert (world.get("/v1/health").status, world.get("/v1/health").json["status"]) == (503, "empty")
        assert world.get("/v1/index").rows == []
        assert world.get("/v1/candles?limit=3").json["next"] is None
        assert "no data yet" in world.get("/v1/badge.svg").text
        assert "There is no reading yet" in world.get("/v1/embed").text
        assert world.get("/v1/metrics").text == ""
        ElementTree.fromstring(world.get("/v1/feed.atom").text)


def test_the_feed_has_an_entry_for_each_change_of_the_class(world: Api) -> None:
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ElementTree.fromstring(world.get("/v1/feed.atom").text)
    (entry,) = feed.findall(f"{atom}entry")
    title = entry.findtext(f"{atom}title")
    assert title == "2026-03-04 UTC: Extreme Fear to Extreme Greed, index 80"
    hours = ElementTree.fromstring(world.get("/v1/feed.atom?bucket=hour").text).findall(f"{atom}entry")
    identities = [entry.findtext(f"{atom}id") for entry in hours]
    assert len(identities) == len(set(identities)) > 10
    for each in hours:
        assert {child.tag for child in each} >= {f"{atom}{name}" for name in ("id", "title", "updated")}


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def test_what_strangers_named_changes_no_answer(world: Api) -> None:
    """Symbols and models with tags, quotes, marks of direction and 100,000 letters."""
    board = {row["coin_symbol"] for row in world.get("/v1/coins").rows}
    assert board == {"BTC", *HOSTILE}
    for name in [name[:5000] for name in HOSTILE]:
        answer = world.get(f"/v1/coins/{quote(name, safe='')}")
        assert answer.status == (414 if len(name) > 2000 else 404 if set("/\n") & set(name) else 200), name[:100]
        assert answer.headers["content-type"] == "application/json"
    assert world.get("/v1/coins/" + HOSTILE[4]).status == 400  # uvicorn itself refuses an address of 100 kB
    for path in ("/v1/embed", "/v1/badge.svg"):
        page = world.get(path).text
        assert not Tags(page).found & {"script", "img", "iframe", "link", "a", "base", "form", "src", "href", "onerror"}
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    ElementTree.fromstring(world.get("/v1/badge.svg").text)
    sample = re.compile(r'bizcharts_[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\["\\])*"\})? -?[0-9.e+-]+')
    for line in world.get("/v1/metrics").text.splitlines():
        assert line.startswith("# ") or sample.fullmatch(line), line[:200]
        assert len(line) < 300


def test_metrics_are_the_newest_hour_and_the_coins_of_the_newest_day(world: Api) -> None:
    lines = world.get("/v1/metrics").text.splitlines()
    assert "bizcharts_index_value 60.0" in lines
    assert 'bizcharts_index_state{state="normal"} 1.0' in lines
    assert 'bizcharts_index_state{state="thin"} 0.0' in lines
    assert 'bizcharts_coin_mentions{coin="BTC"} 40.0' in lines
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert world.get("/v1/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_no_answer_has_text_of_posts(tmp_path: Path) -> None:
    with api(tmp_path / "home.duckdb") as world:
        with world.database.write() as connection:
            connection.execute(
                "INSERT INTO thread_ops BY NAME SELECT 1 AS thread_id, now()::TIMESTAMP AS posted_at, 'mysubject' AS "
                "subject, 'myposttext' AS op_text, 'myposttext' AS op_text_clean, 'live' AS source, "
                "now()::TIMESTAMP AS ingested_at, now()::TIMESTAMP AS text_known_at"
            )
        for path in EVERY:
            assert not re.search("mysubject|myposttext", world.get(path).text)


def test_the_example_of_the_documentation_gives_a_frame_a_strategy_can_merge(world: Api) -> None:
    import pandas as pd

    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102
    frame = names["mood"]("4h", pd.Timestamp(T0, tz="UTC"), f"http://127.0.0.1:{world.port}")
    assert list(frame["value"].fillna(-1)[:3]) == [-1, 14, 42]
    prices = pd.DataFrame({"date": pd.date_range(T0, periods=5, freq="4h", tz="UTC"), "close": 1.0})
    assert prices.merge(frame, on="date", how="left")["value"].notna().sum() == 4


def test_the_addresses_of_the_documentation_are_answered(world: Api) -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    for path in re.findall(r"curl 'http://127.0.0.1:8503(\S+)'", text):
        assert world.get(path).status == 200, path
    described = world.get("/v1/openapi.json").json
    assert set(re.findall(r"^\| `(/v1\S+)`", text, re.M)) - {"/v1/openapi.json"} == {
        f"/v1{path}" for path in described["paths"]
    }
