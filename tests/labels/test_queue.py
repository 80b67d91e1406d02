"""The queue asks for what it promises, and for nothing that it must not."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labels.queue_world import LONG_AGO, NOW, Opening, answered, board, openings, queue, rated

from bizcharts_pipeline.labels.ledger import GoldPost, LabelLedger
from bizcharts_pipeline.labels.queue import build_queue, interleave
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.settings import ActiveLearningSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.label_queue import draw_posts

SIZE = 100
SETTINGS = ActiveLearningSettings(size=SIZE, pool=1000)
OTHER = {1: "bullish", 2: "bearish", 3: "bearish"}  # a wrong answer to each class


def labelled_board(folder: Path, labels: int = 300, posts: int = 1500) -> tuple[Database, LabelLedger, list[Opening]]:
    made = openings(posts)
    database, ledger = board(folder, made)
    ledger.append([rated(post) for post in random.Random(1).sample(made, labels)])
    return database, ledger, made


def test_the_shares_are_as_set_and_so_is_every_beginning_of_the_queue(tmp_path: Path) -> None:
    database, ledger, _ = labelled_board(tmp_path)
    report = build_queue(database, ledger, SETTINGS, NOW)
    strata = [stratum for _, stratum, _, _ in queue(database)]
    counts = Counter(strata)
    assert counts == {name: count for name, count in report.strata.items() if count}
    assert (counts["uncertain"], counts["random"], counts["recent"]) == (50, 25, 15)
    assert counts["relabel"] + counts["disputed"] == 10
    for length in range(SIZE):
        begun = Counter(strata[:length])
        assert all(abs(begun[name] - length * counts[name] / SIZE) < 2 for name in counts)


def test_labels_of_copies_of_three_posts_make_a_queue_that_says_what_was_not_searched(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    made = openings(1200, copies=0)
    first = [next(post for post in made if post.rating == rating) for rating in (1, 2, 3)]
    copies = [replace(first[n % 3], thread_id=5000 + n, cluster_id=5000 + n) for n in range(180)]
    database, ledger = board(tmp_path, made + copies)
    ledger.append([rated(post) for post in copies])
    report = build_queue(database, ledger, SETTINGS, NOW)
    assert report.size > SIZE / 2
    assert report.notes == (
        "Wrong labels were not searched for: 180 labelled posts without near-duplicates are 3 posts, and 5 are needed.",
    )


@given(st.lists(st.integers(0, 60), min_size=5, max_size=5))
def test_any_beginning_has_about_the_shares_of_the_whole(sizes: list[int]) -> None:
    numbers = iter(range(sum(sizes)))
    strata = {name: [next(numbers) for _ in range(size)] for name, size in zip("abcde", sizes, strict=True)}
    order = interleave(strata)  # type: ignore[arg-type]
    assert sorted(thread for _, thread in order) == list(range(sum(sizes)))
    for length in range(len(order)):
        begun = Counter(name for name, _ in order[:length])
        assert all(abs(begun[name] - length * len(strata[name]) / len(order)) < 2 for name in "abcde")
    for name, threads in strata.items():
        assert [thread for stratum, thread in order if stratum == name] == threads


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    labels=st.integers(0, 150),
    gold=st.integers(0, 20),
    copies=st.floats(0, 0.9),
    size=st.integers(10, 120),
    shares=st.tuples(st.floats(0.05, 0.4), st.floats(0, 0.3), st.floats(0, 0.3)),
)
@settings(max_examples=12)
def test_nothing_is_asked_that_must_not_be(
    seed: int, labels: int, gold: int, copies: float, size: int, shares: tuple[float, float, float]
) -> None:
    rng = random.Random(seed)
    made = openings(300, seed=seed, copies=copies)
    spoilt = [
        rng.choice(
            [
                replace(post, sticky=True),
                replace(post, capcode="mod"),
                replace(post, spam_score=0.9),
                replace(post, image_md5="blocked"),
            ]
        )
        for post in made[::10]
    ]
    made[::10] = spoilt
    settings = ActiveLearningSettings(
        size=size, pool=1000, seed=seed,
        random_share=shares[0], recent_share=shares[1], relabel_share=shares[2],
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        database, ledger = board(Path(folder), made)
        with database.write() as connection:
            connection.execute("INSERT INTO blocked_images VALUES ('blocked', 'md5', NULL, now()::TIMESTAMP)")
            connection.execute(f"INSERT INTO thread_fates VALUES ({made[1].thread_id}, 'deleted', now()::TIMESTAMP)")
        chosen = rng.sample(made, labels)
        ledger.append([rated(post) for post in chosen])
        ledger.append([replace(rated(post), flag="illegal") for post in rng.sample(made, 5)])
        skipped = [replace(rated(post, by="b"), sentiment_rating=None, skipped=True) for post in rng.sample(made, 5)]
        ledger.append(skipped)
        ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in chosen[:gold]])
        build_queue(database, ledger, settings, NOW)
        rows = queue(database)
        never = {label.thread_id for label in ledger.standing() if label.flag or label.skipped}
        seen = {label.thread_id for label in ledger.standing()}
    never |= {post.thread_id for post in [*chosen[:gold], *spoilt, made[1]]}
    assert len(rows) <= size
    asked = [thread for thread, *_ in rows]
    assert not never & set(asked)
    cluster = {post.thread_id: post.cluster_id for post in made}
    assert len({cluster[thread] for thread in asked}) == len(asked)
    barred = {cluster[thread] for thread in seen}
    for thread, stratum, probability, margin in rows:
        assert (cluster[thread] in barred) == (stratum in ("relabel", "disputed"))
        assert (probability is None) == (stratum in ("uncertain", "disputed"))
        assert probability is None or 0 < probability <= 1
        assert margin is None or 0 <= margin <= 1


def test_the_random_part_is_uniform_and_its_probability_is_right(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    made = openings(250, copies=0.3)
    groups = {post.cluster_id for post in made}
    database, _ = board(tmp_path, made)
    draws, wanted = 200, 20
    drawn: Counter[int] = Counter()
    with database.read() as connection:
        for number in range(draws):
            draw = draw_posts(
                connection, barred=(), salt=str(number), random=wanted, recent=10,
                recent_after=NOW - timedelta(days=7), pool=50, differing=0,
            )  # fmt: skip
            assert draw.groups == len(groups)
            assert not {*draw.random} & {*draw.recent, *draw.pool}
            drawn.update([*draw.random])
    assert drawn.keys() <= groups  # the first of each group stands for it
    chance = wanted / len(groups)
    expected = draws * chance
    statistic = sum((drawn[group] - expected) ** 2 for group in groups) / (expected * (1 - chance))
    statistic *= (len(groups) - 1) / len(groups)
    assert stats.chi2.ppf(0.0005, len(groups) - 1) < statistic < stats.chi2.ppf(0.9995, len(groups) - 1)


def test_the_queue_is_the_same_from_the_same_labels_and_another_after_a_new_one(tmp_path: Path) -> None:
    database, ledger, made = labelled_board(tmp_path)
    build_queue(database, ledger, SETTINGS, NOW)
    first = queue(database)
    build_queue(database, ledger, SETTINGS, NOW)
    assert queue(database) == first
    asked = {thread for thread, *_ in first}
    ledger.append([rated(next(post for post in made if post.thread_id in asked))])
    build_queue(database, ledger, SETTINGS, NOW)
    drawn = [{thread for thread, stratum, *_ in rows if stratum == "random"} for rows in (first, queue(database))]
    assert len(drawn[0] & drawn[1]) < len(drawn[0]) / 2  # drawn anew: who was low once is not low for ever


def test_the_uncertain_part_is_where_the_model_is_unsure(tmp_path: Path) -> None:
    database, ledger, _ = labelled_board(tmp_path)
    report = build_queue(database, ledger, SETTINGS, NOW)
    margins: dict[str, list[float]] = {}
    for _, stratum, _, margin in queue(database):
        margins.setdefault(stratum, []).append(margin if margin is not None else 1.0)
    assert report.model == "people's labels"
    assert max(margins["uncertain"]) < sorted(margins["random"])[len(margins["random"]) // 2]


def test_without_labels_the_champion_says_where_it_is_unsure(tmp_path: Path) -> None:
    made = openings(600, copies=0)
    database, ledger = board(tmp_path, made)
    with database.write() as connection:
        connection.execute(
            "INSERT INTO model_versions (model_version, kind, status) VALUES ('x', 'lexicon', 'champion')"
        )
        connection.execute(
            "INSERT INTO scored_posts SELECT thread_id, 'x', 0.1, if(thread_id % 4 = 0, 0.46, 0.8), "
            "if(thread_id % 4 = 0, 0.44, 0.1), 0, 0, 'lexicon', posted_at, NULL FROM thread_ops"
        )
    report = build_queue(database, ledger, ActiveLearningSettings(size=40, pool=1000), NOW)
    assert (report.model, report.labels) == ("x", 0)
    assert all(thread % 4 == 0 for thread, stratum, *_ in queue(database) if stratum == "uncertain")
    assert report.strata["uncertain"] == 40 - report.strata["random"] - report.strata["recent"]


def test_posts_without_words_are_asked_too(tmp_path: Path) -> None:
    made = [replace(post, text="?!" if post.thread_id % 2 else "") for post in openings(300, copies=0)]
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made[:100]])
    assert build_queue(database, ledger, ActiveLearningSettings(size=40, pool=1000), NOW).strata["random"] == 10


def test_an_empty_board_gives_an_empty_queue(tmp_path: Path) -> None:
    database, ledger = board(tmp_path, openings(1))
    with database.write() as connection:
        connection.execute("DELETE FROM thread_ops")
    assert build_queue(database, ledger, SETTINGS, NOW).size == 0
    assert queue(database) == []


def test_what_two_providers_read_differently_goes_to_people(tmp_path: Path) -> None:
    database, ledger, made = labelled_board(tmp_path, labels=30)
    labelled = {label.thread_id for label in ledger.newest()}
    clusters = {post.cluster_id for post in made if post.thread_id in labelled}
    free = [post for post in made if post.cluster_id not in clusters][:200]
    agreed = [(post.thread_id, STANCES[post.rating - 1]) for post in free[:190]]
    answered(database, [*agreed, *((post.thread_id, "bullish") for post in free[190:])])
    answered(database, [*agreed, *((post.thread_id, "bearish") for post in free[190:])], provider="gemini")
    build_queue(database, ledger, SETTINGS, NOW)
    disputed = {thread for thread, stratum, *_ in queue(database) if stratum == "disputed"}
    assert disputed
    assert disputed <= {post.thread_id for post in free[190:]}


def test_who_labelled_a_moment_ago_is_not_asked_again(tmp_path: Path) -> None:
    database, ledger, made = labelled_board(tmp_path, labels=0)
    ledger.append([rated(post, at=NOW - timedelta(hours=1)) for post in made[:100]])
    assert build_queue(database, ledger, SETTINGS, NOW).strata["relabel"] == 0
    report = build_queue(database, ledger, SETTINGS, NOW, relabel_after=timedelta())
    assert report.strata["relabel"] + report.strata["disputed"] == 10


def test_no_label_is_spent_on_a_copy_however_late_it_comes(tmp_path: Path) -> None:
    made = openings(400, copies=0)
    late = [
        replace(post, thread_id=1000 + n, cluster_id=1000 + n, posted_at=post.posted_at + timedelta(days=5))
        for n, post in enumerate(made)
    ]
    database, ledger = board(tmp_path, made + late)
    ledger.append([rated(post) for post in made[:150]])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made[:30]])
    report = build_queue(database, ledger, SETTINGS, NOW)
    rows = queue(database)
    new = [thread for thread, stratum, *_ in rows if stratum not in ("relabel", "disputed")]
    texts = {post.thread_id: post.text for post in made + late}
    labelled = {texts[post.thread_id] for post in made[:150]}
    assert not labelled & {texts[thread] for thread in new}
    assert len({texts[thread] for thread in new}) == len(new)
    assert report.strata["random"] == 25
    # 650 groups are left, of which 250 texts are new: more had to be drawn than were asked.
    (chance,) = {probability for _, stratum, probability, _ in rows if stratum == "random"}
    assert 25 / 650 < chance <= 39 / 650


@pytest.mark.slow
def test_disputed_and_other_labels_are_drawn_again_with_the_chance_that_is_stored(tmp_path: Path) -> None:
    made = openings(60, copies=0)
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made[:20]])
    answered(database, [(post.thread_id, OTHER[post.rating]) for post in made[:2]])
    with database.write() as connection:
        connection.execute(
            "INSERT INTO auto_label_trust (provider, model, endpoint, prompt_version, n, trusted, measured_at) "
            "VALUES ('openai', 'm', 'chat', 'v1', 150, true, now()::TIMESTAMP)"
        )
    drawn: Counter[int] = Counter()
    stored: list[float | None] = []
    for seed in range(60):
        build_queue(database, ledger, ActiveLearningSettings(size=50, relabel_share=0.2, seed=seed), NOW)
        again = [(thread, probability) for thread, stratum, probability, _ in queue(database) if stratum == "relabel"]
        drawn.update(thread for thread, _ in again)
        stored += [probability for _, probability in again]
    assert set(stored) == {8 / 20}
    assert 36 <= sum(drawn[post.thread_id] for post in made[:2]) <= 60  # of 120, as 0.4 gives
    assert drawn.keys() <= {post.thread_id for post in made[:20]}


def test_a_relabelled_post_is_settled(tmp_path: Path) -> None:
    database, ledger, made = labelled_board(tmp_path, labels=0)
    once, twice = made[:40], made[40:140]
    ledger.append([rated(post) for post in (*once, *twice)])
    ledger.append([rated(post, by="b", at=LONG_AGO + timedelta(1)) for post in twice])
    build_queue(database, ledger, SETTINGS, NOW)
    again = {thread for thread, stratum, *_ in queue(database) if stratum in ("relabel", "disputed")}
    assert again
    assert again <= {post.thread_id for post in once}
