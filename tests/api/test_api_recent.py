"""Generals, signs of shilling and copies over HTTP: what the pages show, as of any moment, in the promised form."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api_world import NOW, Api, api
from index_world import MadePost, random_posts, store_posts, update
from pydantic import TypeAdapter

from bizcharts_pipeline.api.schema import CopiesAnswer, GeneralsAnswer, ShillingAnswer
from bizcharts_pipeline.app.queries.recent import copies_of, generals_of, signs_of
from bizcharts_pipeline.settings import FearGreedSettings

DAY = timedelta(days=1)
FORMS = {"generals": GeneralsAnswer, "shilling": ShillingAnswer, "copies": CopiesAnswer}


def named(post: MadePost) -> MadePost:
    return replace(post, general=("xmr", "smg", "")[post.thread_id % 3], image=f"picture {post.thread_id % 9}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("recent") / "home.duckdb", filled=False) as served_api:
        store_posts(served_api.database, [named(post) for post in random_posts(9, 12, 40, NOW - 12 * DAY)])
        update(served_api.database, NOW)
        yield served_api


def plain(rows: list[Any]) -> Any:
    return json.loads(
        json.dumps(rows, default=lambda one: f"{one.isoformat()}Z" if isinstance(one, datetime) else vars(one))
    )


def test_programs_get_what_the_pages_show(world: Api) -> None:
    parameters = FearGreedSettings()
    shown = {
        "generals": generals_of(world.database, parameters, 3 * DAY, None),
        "shilling": signs_of(world.database, parameters, 3 * DAY, None),
        "copies": copies_of(world.database, parameters, 3 * DAY, None).groups,
    }
    for name, rows in shown.items():
        answer = world.get(f"/v1/{name}?days=3")
        TypeAdapter(FORMS[name]).validate_json(answer.body)
        assert answer.rows[: len(rows)] == plain(list(rows))
        assert rows
    assert any(row["suspected"] for row in world.get("/v1/shilling").rows)


def test_a_post_that_was_scored_after_the_moment_does_not_count(tmp_path: Path) -> None:
    def threads(served_api: Api) -> int:
        return sum(row["threads"] for row in served_api.get(f"/v1/generals?days=3&as_of={NOW.isoformat()}Z").rows)

    with api(tmp_path / "home.duckdb", filled=False) as served_api:
        store_posts(served_api.database, [named(post) for post in random_posts(9, 12, 40, NOW - 12 * DAY)])
        update(served_api.database, NOW)
        before = threads(served_api)
        with served_api.database.write() as connection:
            connection.execute(
                "UPDATE scored_posts SET scored_at = ? WHERE thread_id = (SELECT thread_id FROM thread_ops "
                "WHERE posted_at <= ? ORDER BY posted_at DESC LIMIT 1)",
                [NOW + timedelta(minutes=1), NOW],
            )
        assert threads(served_api) == before - 1


@pytest.mark.parametrize("name", FORMS)
def test_as_of_a_moment_nothing_later_is_in_the_answer(world: Api, name: str) -> None:
    past = world.get(f"/v1/{name}?as_of={(NOW - 5 * DAY).isoformat()}Z")
    assert past.rows == []  # no reading had been computed by then
    assert world.get(f"/v1/{name}").rows
    tag = world.get(f"/v1/{name}").headers["etag"]
    assert world.get(f"/v1/{name}", If_None_Match=tag).status == 304
    assert world.get(f"/v1/{name}?days=2").headers["etag"] != tag
