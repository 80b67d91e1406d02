"""Wrong labels come up; where the search is not installed it says so, and the queue goes on."""

import random
import sys
from pathlib import Path

import pytest
from labels.queue_world import NOW, board, openings, queue, rated

from bizcharts_pipeline.labels.noise import NoNoiseSearch, doubtful_labels
from bizcharts_pipeline.labels.queue import build_queue
from bizcharts_pipeline.labels.text_model import out_of_fold, term_matrix
from bizcharts_pipeline.settings import ActiveLearningSettings


def test_labels_that_were_turned_round_are_the_doubtful_ones() -> None:
    pytest.importorskip("cleanlab")
    posts = openings(500, copies=0.2)
    turned = set(random.Random(3).sample(range(len(posts)), 40))
    ratings = [post.rating % 3 + 1 if place in turned else post.rating for place, post in enumerate(posts)]
    doubtful = doubtful_labels(
        term_matrix([post.text for post in posts]), ratings, [post.cluster_id or 0 for post in posts], seed=0
    )
    assert len(turned & set(doubtful)) >= 30
    assert len(turned & set(doubtful[:20])) >= 18  # the most doubtful first


def test_no_copy_vouches_for_a_label() -> None:
    pytest.importorskip("sklearn")
    posts = openings(400, copies=0)
    bearish = next(post for post in posts if post.rating == 1)
    terms = term_matrix([post.text for post in [*posts, *[bearish] * 30]])
    ratings = [post.rating for post in posts] + [3] * 30  # the copies are labelled bullish, all of them
    together = out_of_fold(terms, ratings, [post.thread_id for post in posts] + [bearish.thread_id] * 30, seed=0)
    apart = out_of_fold(terms, ratings, list(range(430)), seed=0)
    assert set(together[400:].argmax(axis=1)) == {0}
    assert set(apart[400:].argmax(axis=1)) == {2}


def test_without_the_package_it_says_what_to_install_and_the_queue_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = openings(400)
    database, ledger = board(tmp_path, posts)
    ledger.append([rated(post) for post in posts[:150]])
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(NoNoiseSearch, match="make install-noise"):
        doubtful_labels(term_matrix([post.text for post in posts]), [post.rating for post in posts], [1], seed=0)
    report = build_queue(database, ledger, ActiveLearningSettings(size=50, pool=1000), NOW)
    assert "cleanlab" in " ".join(report.notes)
    assert len(queue(database)) == report.size == 50


def test_doubtful_labels_are_asked_again(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    posts = openings(900, copies=0)
    turned = {post.thread_id for post in posts[:20]}
    database, ledger = board(tmp_path, posts)
    ledger.append(
        [rated(post, rating=post.rating % 3 + 1 if post.thread_id in turned else None) for post in posts[:500]]
    )
    build_queue(database, ledger, ActiveLearningSettings(size=100, pool=1000), NOW)
    disputed = {thread for thread, stratum, *_ in queue(database) if stratum == "disputed"}
    assert len(disputed) == 5
    assert len(disputed & turned) >= 4
