"""People's net stance by month: right on posts whose true classes are known, and honest where it can't be."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from index_world import MODEL, MadePost, new_database, store_posts

from bizcharts_pipeline.index.monthly import monthly_stances
from bizcharts_pipeline.index.people import Response, people_stance
from bizcharts_pipeline.index.votes import Ints
from bizcharts_pipeline.models.scale import measure_scale
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow, save_evaluations

NEUTRAL = 0.4
CONFUSION = np.array([[0.5, 0.35, 0.15], [0.25, 0.5, 0.25], [0.2, 0.35, 0.45]])  # rows: truth, columns: what is said
SAID = (Score(0.6, 0.3, 0.1), Score(0.25, 0.5, 0.25), Score(0.1, 0.35, 0.55))


def posts_of(rng: np.random.Generator, net: float, count: int) -> tuple[list[int], Ints]:
    """True classes of ``count`` posts of which people have the stance ``net``, and what is said of each (of SAID)."""
    bullish = (1 - NEUTRAL + net) / 2
    truth = rng.choice(3, count, p=[1 - NEUTRAL - bullish, NEUTRAL, bullish])
    return truth.tolist(), (rng.random(count)[:, None] > CONFUSION[truth].cumsum(axis=1)[:, :2]).sum(axis=1)


def gold_response(seed: int, count: int) -> Response:
    truth, said = posts_of(np.random.default_rng(seed), -0.1, count)
    scale = measure_scale([SAID[one] for one in said], truth, range(count), seed)
    assert scale.response
    assert scale.response_covariance
    return Response(0, np.array(scale.response), np.array(scale.response_covariance).reshape(5, 5))


def mean_stance(said: Ints) -> tuple[float, float]:
    """The certainty-weighted mean stance and its sampling variance."""
    weight = np.array([0.25 + 0.75 * one.confidence for one in SAID])[said]
    stance = np.array([one.score for one in SAID])[said]
    mean = (weight @ stance) / weight.sum()
    return float(mean), float((weight**2 @ (stance - mean) ** 2) / weight.sum() ** 2)


def people_of(said: Ints, response: Response) -> tuple[float, float, float]:
    mean, variance = mean_stance(said)
    (people,), (lo,), (hi,) = people_stance(np.array([mean]), np.array([variance]), response, 0.9)
    return float(people), float(lo), float(hi)


def test_the_interval_holds_peoples_net_stance_after_their_mood_has_moved():
    held = []
    for seed in range(50):
        rng = np.random.default_rng(1000 + seed)
        net = rng.uniform(-0.4, 0.3)
        found = people_of(posts_of(rng, net, 4000)[1], gold_response(seed, 200))
        held.append(found[1] <= net <= found[2])
    assert 0.8 <= np.mean(held) <= 0.97


def test_with_much_gold_the_figure_is_what_people_said_and_the_stance_is_not():
    said = posts_of(np.random.default_rng(5), 0.3, 20_000)[1]
    people, lo, hi = people_of(said, gold_response(1, 6_000))
    assert people == pytest.approx(0.3, abs=0.05)
    assert lo < people < hi
    assert mean_stance(said)[0] < 0.15


def test_a_model_that_does_not_follow_people_says_nothing_of_them():
    response = gold_response(1, 300)
    stance, variance = np.array([0.1]), np.array([1e-4])
    contrary = Response(0, response.figures * [1, 1, 1, 1, -1], response.covariance)
    people, lo, hi = people_stance(stance, variance, contrary, 0.9)
    assert np.isnan(people)
    assert (lo, hi) == (-1, 1)
    hardly = Response(0, response.figures * [1, 1, 1, 1, 0.05], response.covariance)
    assert people_stance(stance, variance, hardly, 0.9)[1:] == (-1, 1)


def test_months_are_of_the_counted_posts_and_corrected_by_the_newest_measurement(tmp_path: Path):
    now, rng = datetime(2025, 2, 3), np.random.default_rng(3)
    posts = []
    for month, net in ((datetime(2025, 1, 1), 0.2), (datetime(2025, 2, 1), -0.3)):
        for number, place in enumerate(posts_of(rng, net, 400)[1].tolist()):
            one, posted = SAID[place], month + timedelta(minutes=5 * number)
            posts.append(MadePost(len(posts) + 1, posted, one.p_bullish, one.p_bearish, one.confidence, live=False))
    posts.append(MadePost(9000, datetime(2025, 1, 9), 1.0, 0.0, 1.0, spam=0.9))
    database = new_database(tmp_path)
    store_posts(database, posts)
    with database.write() as connection:
        without = monthly_stances(connection, MODEL, 12, now, FearGreedSettings(), [])
        figures = gold_response(1, 300)
        row = EvaluationRow(
            *(MODEL, "gold-1", 300, 0.5, 0.4, 0.6, 0.5, 0.4, 0.6, 0.5, 0.5, 0.5, 0.1, 1.0),
            ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
            now,
            response=tuple(figures.figures.tolist()),
            response_covariance=tuple(figures.covariance.ravel().tolist()),
        )
        save_evaluations(connection, [row])
        connection.execute(
            "INSERT INTO model_versions (model_version, kind, trained_at, status) VALUES (?, 'made up', ?, 'champion')",
            [MODEL, now],
        )
        february, january = monthly_stances(connection, MODEL, 12, now, FearGreedSettings(), [])
    assert [(one.month.month, one.complete, one.n, one.people) for one in without] == [
        (2, False, 400, None),
        (1, True, 400, None),
    ]
    made = [post for post in posts if post.posted_at < datetime(2025, 2, 1) and not post.spam]
    weight = np.array([0.25 + 0.75 * post.confidence for post in made])
    expected = float(weight @ [post.up - post.down for post in made] / weight.sum())
    assert january.stance == pytest.approx(expected, abs=1e-12)
    assert january.people_lo < 0.2 < january.people_hi
    assert february.people_lo < -0.3 < february.people_hi
    assert february.people < january.people
