"""What a switch of the champion would change is shown before it, and is what happens."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from index_world import QUICK
from switch_world import DAYS, NOW, PER_DAY, SwitchWorld, published_model

from bizcharts_pipeline.live import bring_indexes_up_to_date
from bizcharts_pipeline.models import promotion
from bizcharts_pipeline.models.preview import PreviewError, in_words, keep_preview, preview_switch
from bizcharts_pipeline.models.promotion import ChampionError, override
from bizcharts_pipeline.models.retention import remove_superseded
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.warehouse.as_of import candles
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.model_previews import (
    HELD,
    PREVIEW,
    SWITCHED,
    ModelPreview,
    ModelSwitch,
    held,
    model_switches,
    previews,
)
from bizcharts_pipeline.warehouse.models import ModelVersion, model, promote
from bizcharts_pipeline.warehouse.rescoring import Rescoring, rescoring

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POSTS = DAYS * PER_DAY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SwitchWorld:
    return SwitchWorld.made(tmp_path_factory.mktemp("switch") / "home")


@pytest.fixture
def copied(made: SwitchWorld, tmp_path: Path) -> SwitchWorld:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    return replace(made, home=home, database=DatabaseFile(home / made.database.path.name, 20))


@pytest.fixture
def world(copied: SwitchWorld, monkeypatch: pytest.MonkeyPatch) -> SwitchWorld:
    """In which no time passes while a switch is made."""
    monkeypatch.setattr(promotion, "timer", lambda: timedelta)
    return copied


def stored(world: SwitchWorld) -> list[ModelPreview]:
    with world.database.read() as connection:
        return previews(connection)


def row_of(world: SwitchWorld, version: str) -> ModelVersion:
    with world.database.read() as connection:
        found = model(connection, version)
    assert found
    return found


def progress(world: SwitchWorld) -> Rescoring | None:
    with world.database.read() as connection:
        return rescoring(connection, NOW, QUICK.history_days)


def switches(world: SwitchWorld, as_of=None) -> list[ModelSwitch]:
    with world.database.read() as connection:
        return model_switches(connection, as_of)


@pytest.mark.slow
def test_a_preview_is_what_the_index_shows_when_all_is_scored_again(world: SwitchWorld) -> None:
    before = world.reading()
    seen = keep_preview(world.database, world.place, world.new, QUICK, NOW)
    assert (seen.outcome, seen.mapped_days) == (PREVIEW, 0)
    assert (seen.stance_old, seen.value_old) == pytest.approx((before.stance, before.value), abs=1e-9)
    assert world.decide().promoted
    world.score()
    after = world.index()
    assert after.model_version == world.new
    assert (seen.stance_new, seen.value_new) == pytest.approx((after.stance, after.value), abs=1e-9)
    assert seen.shift == pytest.approx(after.value - before.value)
    assert abs(seen.shift) > 1
    assert seen.shift_lo <= seen.shift <= seen.shift_hi
    previewed, switched = stored(world)
    assert previewed == seen
    assert switched == replace(seen, outcome=SWITCHED)

    with world.database.read() as connection:
        query = """
            SELECT avg(s.score), avg((greatest(s.p_bearish, s.p_neutral, s.p_bullish) <> CASE
                WHEN o.p_bearish >= greatest(o.p_neutral, o.p_bullish) THEN s.p_bearish
                WHEN o.p_neutral >= o.p_bullish THEN s.p_neutral ELSE s.p_bullish END)::INT), corr(s.score, o.score)
            FROM scored_posts s JOIN scored_posts o USING (thread_id) JOIN thread_ops t USING (thread_id)
            WHERE s.model_version = ? AND o.model_version = ? AND t.posted_at <= ?"""
        row = connection.execute(query, [world.new, world.old, NOW]).fetchone()
    assert (seen.mean_new, seen.class_changed, seen.correlation) == pytest.approx(row)


def test_the_index_goes_on_with_the_former_model_until_the_new_one_has_scored_all_posts(world: SwitchWorld) -> None:
    assert progress(world) is None
    ended = NOW.replace(minute=0)
    known = world.reading(as_of=NOW, before=ended)
    world.decide()
    assert world.score(limit=200, now=NOW + MINUTE) == 200
    still = world.index(NOW + MINUTE)
    assert (still.model_version, still.computed_at) == (world.old, NOW + MINUTE)
    assert progress(world) == Rescoring(world.new, world.old, POSTS - 200, pytest.approx(200 / POSTS))
    (switch,) = switches(world)
    assert (switch.switched_at, switch.model_version, switch.published_at) == (NOW, world.new, None)

    later = NOW + 2 * HOUR
    while world.score(limit=200, now=later) == 200:
        assert world.index(later).model_version == world.old
    assert world.index(later).model_version == world.new
    assert progress(world) is None
    (switch,) = switches(world)
    assert (switch.former, switch.published_at, switch.shift) == (world.old, later, stored(world)[-1].shift)
    assert [each.published_at for each in switches(world, NOW + MINUTE)] == [None]
    assert switches(world, NOW - MINUTE) == []

    # What was known before the switch stays, and no reading of the new model claims to have been knowable before it.
    assert world.reading(as_of=NOW, before=ended) == known
    assert world.reading(before=ended).model_version == world.new
    with world.database.read() as connection:
        opened = candles(connection, HOUR, NOW.replace(minute=0), later.replace(minute=0))
        query = "SELECT min(knowable_at) FROM fear_greed_index WHERE model_version = ?"
        assert connection.execute(query, [world.new]).fetchone() == (NOW,)
    assert [candle.model_version for candle in opened] == [None, world.old, world.old]  # none had been computed then


def test_a_run_of_the_former_model_that_ends_late_publishes_nothing_more(
    world: SwitchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bizcharts_pipeline.index import update

    rebuild = update.rebuild

    def overtaken(*given, **named):
        monkeypatch.setattr(update, "rebuild", rebuild)
        world.decide()
        world.score()
        assert world.index(NOW + HOUR).model_version == world.new
        return rebuild(*given, **named)

    monkeypatch.setattr(update, "rebuild", overtaken)
    world.index(NOW + HOUR + MINUTE)
    assert world.reading().model_version == world.new
    with world.database.read() as connection:
        query = "SELECT count(*) FROM fear_greed_index WHERE model_version = ? AND computed_at > ?"
        assert connection.execute(query, [world.old, NOW]).fetchone() == (0,)


@pytest.mark.slow
def test_a_run_of_a_new_champion_that_is_rolled_back_scores_and_publishes_nothing_more(world: SwitchWorld) -> None:
    before = world.reading()
    world.decide()
    running = champion_scorer(world.database, world.place, NOW)
    score_new_posts(world.database, running, limit=100, now=NOW)
    override(world.database, world.place, world.old, parameters=QUICK, who="ann", reason="back", now=NOW)
    assert score_new_posts(world.database, running, limit=None, now=NOW).scored == 0
    new = row_of(world, world.new)
    with world.database.write() as connection:  # as if the roll-back had come after the last post
        promote(connection, new)
    score_new_posts(world.database, running, limit=None, now=NOW)
    override(world.database, world.place, world.old, parameters=QUICK, who="ann", reason="back", now=NOW)
    for everything in (False, True):
        bring_indexes_up_to_date(world.database, running, NOW, QUICK, everything=everything)
        assert world.reading() == before


def test_a_switch_has_the_time_of_its_end_and_not_that_of_its_previews_begin(copied: SwitchWorld) -> None:
    began = time.monotonic()
    copied.decide()
    (switch,) = switches(copied)
    with copied.database.read() as connection:
        decided = connection.execute("SELECT max(decided_at) FROM model_decisions WHERE promoted").fetchone()
    assert decided == (switch.switched_at,)
    assert NOW + timedelta(seconds=0.1) < switch.switched_at <= NOW + timedelta(seconds=time.monotonic() - began)


def test_a_large_shift_waits_for_a_person(world: SwitchWorld) -> None:
    decision = world.decide(confirm_above=0)
    assert not decision.promoted
    assert "; waits for a person, as the index would shift by " in decision.reason
    assert world.champion() == world.old
    waiting = held(stored(world)[::-1])
    assert waiting
    assert (waiting.model_version, waiting.outcome) == (world.new, HELD)
    assert row_of(world, world.new).status == "candidate"
    assert remove_superseded(world.database, world.home, NOW + timedelta(days=30)) == ()

    said = override(world.database, world.place, world.new, parameters=QUICK, who="ann", reason="seen", now=NOW)
    assert said == replace(waiting, outcome=SWITCHED)
    assert world.champion() == world.new
    assert held(stored(world)[::-1]) is None


def test_of_two_trainings_at_once_one_switches(world: SwitchWorld) -> None:
    assert world.decide().promoted
    with pytest.raises(ChampionError, match="evaluate again"):
        world.decide()
    assert [row.outcome for row in stored(world)] == [SWITCHED]


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="promotion", expected="a killed preview leaves nothing; the next run goes on")
def test_a_kill_while_the_candidate_scores_leaves_nothing_and_the_next_run_goes_on(world: SwitchWorld) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path[:0] = sys.argv[3:]\n"
        "from bizcharts_pipeline.sentiment.calibrated import CalibratedScorer\n"
        "from bizcharts_pipeline.warehouse.database_file import DatabaseFile\n"
        "from switch_world import SwitchWorld\n"
        "score = CalibratedScorer.score\n"
        "def die(self, posts):\n"
        "    score(self, posts[:len(posts) // 2])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "CalibratedScorer.score = die\n"
        "home = Path(sys.argv[1])\n"
        "SwitchWorld(DatabaseFile(home / 'index.duckdb'), home, *sys.argv[2].split()).decide()\n"
    )
    arguments = [str(world.home), f"{world.old} {world.new}", str(Path(__file__).parent.parent)]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], timeout=60, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (world.champion(), stored(world)) == (world.old, [])
    assert row_of(world, world.new).status == "candidate"
    assert world.decide().promoted


def test_scores_by_a_fallback_do_not_make_the_index_of_a_new_champion(world: SwitchWorld) -> None:
    world.decide()
    world.score()
    fifty = f"(SELECT thread_id FROM scored_posts WHERE model_version = '{world.new}' ORDER BY thread_id LIMIT 50)"
    with world.database.write() as connection:
        connection.execute(
            f"UPDATE scored_posts SET waits_for = 'budget' WHERE model_version = '{world.new}' AND thread_id IN {fifty}"
        )
    for everything in (False, True):
        assert world.index(NOW + MINUTE, everything=everything).model_version == world.old
    assert progress(world) == Rescoring(world.new, world.old, 50, pytest.approx(1 - 50 / POSTS))
    assert switches(world)[0].published_at is None
    world.score()  # the fifty again, by the champion itself
    assert world.index(NOW + 2 * MINUTE).model_version == world.new


def test_an_index_whose_former_model_cannot_go_on_begins_with_scores_by_a_fallback(world: SwitchWorld) -> None:
    world.decide()
    world.score()
    with world.database.write() as connection:
        connection.execute(f"UPDATE scored_posts SET waits_for = 'budget' WHERE model_version = '{world.new}'")
        connection.execute(f"DELETE FROM scored_posts WHERE model_version = '{world.old}'")
    assert world.index(NOW + MINUTE).model_version == world.new


def test_a_preview_while_a_champion_scores_old_posts_begins_at_the_published_index(world: SwitchWorld) -> None:
    world.decide()
    world.score(limit=200, now=NOW + MINUTE)
    still = world.index(NOW + MINUTE)
    assert still.model_version == world.old
    third = published_model(world.home, 3)
    for candidate, moves in ((third, True), (row_of(world, world.old), False)):
        seen = preview_switch(world.database, world.place, candidate, QUICK, NOW + MINUTE)
        assert (seen.champion, seen.reason) == (world.new, None)
        assert seen.posts > POSTS - 2
        assert (seen.stance_old, seen.value_old) == (
            pytest.approx(still.stance, abs=1e-9),
            pytest.approx(still.value, abs=1e-9),
        )
        assert (seen.stance_new != seen.stance_old) is moves


def test_what_cannot_be_measured_is_said(world: SwitchWorld) -> None:
    damaged = replace(row_of(world, world.new), sha256="0" * 64)
    assert "cannot run on this machine" in in_words(preview_switch(world.database, world.place, damaged, QUICK, NOW))
    late = preview_switch(world.database, world.place, row_of(world, world.new), QUICK, NOW + timedelta(days=30))
    assert "no post of the last 14 days" in in_words(late)
    assert late.shift is None
    with pytest.raises(PreviewError, match="There is no model tfidf-0"):
        keep_preview(world.database, world.place, "tfidf-0", QUICK, NOW)

    # The champion reads pictures, and has no server now: its stored scores count.
    with world.database.write() as connection:
        connection.execute("UPDATE model_versions SET kind = 'qlora' WHERE model_version = ?", [world.old])
    measured = preview_switch(world.database, world.place, row_of(world, world.new), QUICK, NOW)
    assert measured.posts > 500
    assert measured.shift is not None


@pytest.mark.slow
def test_a_former_champion_comes_back_and_each_switch_is_marked(world: SwitchWorld) -> None:
    world.decide()
    world.score()
    world.index()
    later = NOW + HOUR
    back = override(world.database, world.place, world.old, parameters=QUICK, who="ann", reason="back", now=later)
    world.score(now=later)
    world.index(later)
    there, again = switches(world)
    assert there.model_version == world.new
    assert NOW <= there.published_at < NOW + MINUTE
    assert (again.model_version, again.former, again.published_at) == (world.old, world.new, later)
    assert again.shift == back.shift
