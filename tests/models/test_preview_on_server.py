"""The switch to a vision model is previewed on the server that would serve it: the scores, the money, and kills."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from forked import ForkedProcess, run_bizcharts
from index_world import QUICK
from installation import REPOSITORY
from labelling_world import Books, some_threads
from switch_world import NOW, SwitchWorld
from vision_world import KIND, NOON, fetch, post, serving, thumbnail, vision_model
from worker_world import worker_world

from assets.champion_model import champion_model
from bizcharts_pipeline.autolabel.protocol import Price
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.endpoints.control import Control
from bizcharts_pipeline.endpoints.life import deploy
from bizcharts_pipeline.models import preview
from bizcharts_pipeline.models.preview import in_words, keep_preview
from bizcharts_pipeline.models.promotion import override
from bizcharts_pipeline.scoring import jobs
from bizcharts_pipeline.scoring.new_posts import LATE
from bizcharts_pipeline.scoring.vision import FAILURES
from bizcharts_pipeline.settings import Settings, VisionSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import register_candidate
from bizcharts_pipeline.warehouse.pictures import record_picture
from bizcharts_pipeline.warehouse.scores import first_scores_by_subject
from resources.training import Training
from resources.warehouse import Warehouse

SECONDS = 120


@dataclass(frozen=True)
class Served(SwitchWorld):
    """A switch world whose candidate is a vision model on ``server``."""

    server: SimulatedLabelApis | None = None

    @property
    def apis(self) -> SimulatedLabelApis:
        assert self.server
        return self.server

    @property
    def books(self) -> Books:
        return Books.of(self.home, Path("ledgers") / "scores.sqlite")

    def charging(self, usd_per_million: str, usd_per_day: str) -> "Served":
        """The server bills so much, and the settings say so."""
        price = Decimal(usd_per_million)
        for version in self.apis.openai.adapters:
            self.apis.books.prices[version] = Price(price, price)
        prices = {"usd_per_million_input_tokens": price, "usd_per_million_output_tokens": price}
        return replace(self, vision=self.vision.model_copy(update=prices | {"usd_per_day": Decimal(usd_per_day)}))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return connection.execute(sql).fetchall()

    def scores(self) -> list[tuple[Any, ...]]:
        """What the candidate has said, without when."""
        query = f"SELECT * EXCLUDE (scored_at) FROM scored_posts WHERE model_version = '{self.new}' ORDER BY ALL"
        return self.query(query)

    def published(self) -> list[tuple[Any, ...]]:
        """All that is published, without when it was computed."""
        return [
            *self.query("SELECT DISTINCT * EXCLUDE (computed_at, knowable_at) FROM fear_greed_index ORDER BY ALL"),
            *self.query("SELECT DISTINCT * EXCLUDE (computed_at, knowable_at) FROM coin_sentiment ORDER BY ALL"),
        ]

    def start_preview(self) -> ForkedProcess:
        """`bizcharts models preview`, as a process."""
        vision = {f"BIZCHARTS_VISION__{name.upper()}": str(value) for name, value in self.vision.model_dump().items()}
        own = {"BIZCHARTS_HOME": str(self.home), "BIZCHARTS_DATABASE": str(self.home / "index.duckdb")}
        environment = {**os.environ, **own, **vision, "BIZCHARTS_NOW": NOW.isoformat(), "OMP_NUM_THREADS": "1"}
        arguments = ("models", "preview", self.new)
        return ForkedProcess(run_bizcharts, arguments, folder=REPOSITORY, environment=environment, merged=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SwitchWorld:
    """Of every twelve posts, one has a stored picture, one a deleted one, and one's was never fetched."""
    world = SwitchWorld.made(tmp_path_factory.mktemp("served") / "home")
    jpegs = [picture(thread, "thumbnail") for thread in some_threads(4)]
    with world.database.write() as connection:
        pictured = "UPDATE thread_ops SET thumbnail_url = 'https://x/s.jpg' WHERE thread_id % 12 < 3 AND posted_at < ?"
        connection.execute(pictured, [NOW - LATE])
        query = "SELECT thread_id FROM thread_ops WHERE thumbnail_url IS NOT NULL AND thread_id % 12 < 2"
        for (thread,) in connection.execute(query).fetchall():
            status = "deleted" if thread % 12 else "stored"
            record_picture(connection, thumbnail(world.home, thread, status, jpegs[thread % 4]))
        candidate = register_candidate(connection, vision_model(world.home))
    return replace(world, new=candidate.model_version)


@pytest.fixture
def world(made: SwitchWorld, tmp_path: Path) -> Iterator[Served]:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    with serving() as server:
        server.openai.adapters.add(made.new)
        vision = VisionSettings(endpoint=server.openai_url)
        yield Served(DatabaseFile(home / "index.duckdb", 20), home, made.old, made.new, vision, server)


@pytest.mark.slow
def test_a_preview_is_what_the_server_says_of_the_posts_when_the_model_is_champion(world: Served) -> None:
    before, published = world.reading(), world.published()
    seen = keep_preview(world.database, world.place, world.new, QUICK, NOW)
    scores, asked = world.scores(), len(world.apis.requests)
    assert seen.posts == seen.days_posts == len(scores)
    assert {row[7] for row in scores} == {KIND, f"{KIND} (text only)"}
    assert abs(seen.shift) > 1

    world.index(everything=True)
    assert world.published() == published, "scores of a candidate reach no reading"
    assert world.champion() == world.old

    decision = world.decide()
    assert decision.promoted
    world.score()
    of_preview = {row[0] for row in scores}
    all_scores = world.scores()
    assert [row for row in all_scores if row[0] in of_preview] == scores
    assert len(world.apis.requests) == asked + len(all_scores) - len(scores), "no question is sent twice"
    assert world.apis.bill().paid_twice == 0
    after = world.index()
    assert after.model_version == world.new
    assert (seen.stance_new, seen.value_new) == pytest.approx((after.stance, after.value), abs=1e-9)
    assert seen.shift == pytest.approx(after.value - before.value)


@pytest.mark.slow
def test_a_post_whose_picture_is_awaited_is_left_out_and_the_rest_is_said(
    world: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "MAX_VISION_POSTS", 60)
    newest = (
        f"SELECT thread_id FROM thread_ops WHERE posted_at <= '{NOW}' ORDER BY posted_at DESC, thread_id DESC LIMIT 10"
    )
    with world.database.write() as connection:
        connection.execute(f"UPDATE thread_ops SET thumbnail_url = 'https://x/s.jpg' WHERE thread_id IN ({newest})")
        connection.execute(f"DELETE FROM thumbnails WHERE thread_id IN ({newest})")
    seen = keep_preview(world.database, world.place, world.new, QUICK, NOW)
    waiting = {thread for (thread,) in world.query(newest)}
    assert seen.posts == 50
    assert not waiting & {row[0] for row in world.scores()}
    assert f"of 50 posts (of the {seen.days_posts} of the last 14 days) " in in_words(seen)
    # The next preview pays for what has come since, and its posts are the newest again.
    asked = len(world.apis.requests)
    for thread in waiting:
        fetch(world.home, world.database, thread, "deleted")
    assert keep_preview(world.database, world.place, world.new, QUICK, NOW).posts == 60
    assert len(world.apis.requests) == asked + 10


@pytest.mark.slow
def test_a_budget_for_less_than_half_of_the_posts_gives_no_preview_and_what_it_paid_for_is_kept(
    world: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "MAX_VISION_POSTS", 60)
    poor = world.charging("50", "0.05")
    said = in_words(keep_preview(poor.database, poor.place, poor.new, QUICK, NOW))
    scored = len(poor.scores())
    assert 0 < scored < 30
    assert f"it has scored {scored} of the newest 60 posts, fewer than half: $" in said
    assert "of the day's $0.05 are spent or reserved" in said
    assert world.apis.bill().usd <= world.books.usd <= Decimal("0.05")
    rich = world.charging("50", "5")
    assert keep_preview(rich.database, rich.place, rich.new, QUICK, NOW).posts == 60
    assert (len(world.apis.requests), world.apis.bill().paid_twice) == (60, 0)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["no endpoint", "down", "unknown model", "no budget", "damaged"])
def test_a_server_that_cannot_be_asked_is_named_and_the_switch_goes_on(world: Served, trouble: str) -> None:
    most, words = 0, ""
    match trouble:
        case "no endpoint":
            world, words = replace(world, vision=VisionSettings()), "`endpoint` of [vision] names none"
        case "down":
            world.apis.rates = {LabelFault.UNAVAILABLE: 1.0}
            most, words = FAILURES, "none of its last 12 requests had a usable answer"
        case "unknown model":
            world.apis.openai.adapters.clear()
            most, words = 1, "the name under which the server has the adapter"
        case "no budget":
            world, words = world.charging("50", "0"), "of the day's $0 are spent or reserved"
        case "damaged":
            (world.home / "models" / world.new / "adapter_model.safetensors").write_bytes(b"other")
            words = "adapter_model.safetensors was changed"
    seen = keep_preview(world.database, world.place, world.new, QUICK, NOW)
    said = in_words(seen)
    assert words in said
    assert "no preview, because " in said
    assert "\n" not in said
    assert (seen.shift, len(world.apis.requests) <= most, world.scores()) == (None, True, [])
    if trouble != "damaged":  # such a model is never promoted
        override(world.database, world.place, world.new, parameters=QUICK, who="ann", reason="seen", now=NOW)
        assert world.champion() == world.new
        assert len(world.apis.requests) <= 2 * most


@pytest.mark.slow
@pytest.mark.fault(
    "SIGKILL", stage="promotion", expected="a killed preview on a server pays again only for what was under way"
)
def test_a_killed_preview_is_repeated_for_what_was_under_way_alone(world: Served) -> None:
    world = world.charging("5", "5")
    process = world.start_preview()
    while process.poll() is None and len(world.apis.requests) < 150:
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    assert (world.champion(), world.query("FROM model_previews")) == (world.old, [])
    assert len(world.scores()) >= 100, "each batch is stored"
    seen = keep_preview(world.database, world.place, world.new, QUICK, NOW)
    assert seen.posts == seen.days_posts
    bill, books = world.apis.bill(), world.books
    assert bill.paid_twice <= books.orphaned <= world.vision.most_at_once
    assert books.known_usd <= bill.usd <= books.usd
    assert books.open == 0


@pytest.mark.slow
def test_scoring_and_previews_at_once_pass_no_cap_and_ask_nothing_twice(world: Served) -> None:
    champion = vision_model(world.home, seed=2)
    world.apis.openai.adapters.add(champion.model_version)
    world = world.charging("50", "2")  # of about six for all posts by both models
    override_by = {"parameters": QUICK, "who": "ann", "reason": "seen", "now": NOW}
    with world.database.write() as connection:
        register_candidate(connection, champion)
        connection.execute("UPDATE model_versions SET status = 'candidate' WHERE model_version = ?", [world.new])
    poor = replace(world, vision=world.vision.model_copy(update={"usd_per_day": Decimal(0)}))
    override(world.database, poor.place, champion.model_version, **override_by)
    poor.score()  # by the lexicon, until there is a budget
    assert world.apis.requests == []

    previewing = [world.start_preview() for _ in range(2)]
    while world.new not in {asked.model for asked in world.apis.asked}:
        time.sleep(0.002)
    world.score()
    said = [process.communicate(timeout=SECONDS)[0] for process in previewing]
    assert all(process.returncode == 0 for process in previewing), said
    bill, books = world.apis.bill(), world.books
    assert bill.usd <= books.usd <= Decimal(2)
    assert bill.paid_twice == 0
    models = {asked.model for asked in world.apis.asked}
    assert models == {world.new, champion.model_version}
    keep_preview(world.database, world.place, world.new, QUICK, NOW)
    world.score()
    assert world.apis.bill().usd <= world.books.usd <= Decimal(2)


@pytest.mark.slow
def test_the_asset_asks_the_server_of_the_settings(world: Served, instance: dg.DagsterInstance) -> None:
    settings = Settings.model_validate({"home": world.home, "vision": world.vision.model_dump()})
    resources = {
        "warehouse": Warehouse(database=str(world.home / "index.duckdb"), wait_seconds=30),
        "training": Training.from_settings(settings),
    }
    chosen = {"ops": {"champion_model": {"config": {"override": world.new, "who": "ann", "reason": "it sees"}}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIZCHARTS_NOW", NOW.isoformat())
        result = dg.materialize([champion_model], instance=instance, resources=resources, run_config=chosen)
    (made,) = result.asset_materializations_for_node("champion_model")
    said = str(made.metadata["newest_preview"].value)
    assert f"{world.new} in place of {world.old}: of " in said
    assert world.query("SELECT posts, outcome FROM model_previews") == [(len(world.scores()), "switched")]


@pytest.mark.slow
def test_a_serverless_worker_of_its_own_is_asked_and_after_the_switch_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)
    with worker_world(tmp_path, monkeypatch) as world:
        post(world.database, {n: f"post number {n}" for n in range(1, 131)})
        world.score()
        champions = len(world.serverless.answered)
        candidate = vision_model(world.home, seed=2)
        with world.database.write() as connection:
            register_candidate(connection, candidate)
        version = candidate.model_version
        world.server.openai.adapters.add(version)
        seen = keep_preview(world.database, world.place, version, QUICK, NOON + timedelta(minutes=1))
        assert f"the worker {world.endpoint.endpoint_id} has {world.version}" in in_words(seen)

        of_champion = replace(world.place, seconds=None)
        world.endpoint = deploy(world.settings, version, Control(), NOON)
        seen = keep_preview(world.database, of_champion, version, QUICK, NOON + timedelta(minutes=1))
        assert seen.posts == 130, in_words(seen)
        assert len(world.serverless.answered) == champions + 130
        override(world.database, world.place, version, parameters=QUICK, who="a", reason="b", now=NOON)
        assert world.score(None).methods == {KIND: 130}
        assert len(world.serverless.answered) == champions + 130


def test_a_candidates_score_is_not_the_first_of_a_post(world: Served) -> None:
    with world.database.write() as connection:
        connection.execute("UPDATE thread_ops SET subject = '/smg/ stocks' WHERE thread_id % 50 = 0")
        known = first_scores_by_subject(connection, ["/smg/"])
        connection.execute(
            "INSERT INTO scored_posts BY NAME SELECT * REPLACE (? AS model_version, -score AS score, "
            "scored_at - INTERVAL 1 DAY AS scored_at) FROM scored_posts WHERE model_version = ?",
            [world.new, world.old],
        )
        assert known
        assert sorted(first_scores_by_subject(connection, ["/smg/"])) == sorted(known)
