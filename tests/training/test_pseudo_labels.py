"""Pseudo-labels: few, certain, marked, never near gold, and counted nowhere."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.gate_world import LATER, GateWorld, talk

from bizcharts_pipeline.core.rows import ScoredPost
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.models.card import labels_learned_from
from bizcharts_pipeline.models.retraining import Terms, retrainings
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON
from bizcharts_pipeline.settings import ContinualSettings, Settings
from bizcharts_pipeline.training.pseudo_labels import choose, find_pseudo_labels
from bizcharts_pipeline.training.recipes.fitting import out_of_fold
from bizcharts_pipeline.training.recipes.tfidf import train
from bizcharts_pipeline.training.text_set import load_text_set
from bizcharts_pipeline.warehouse.datasets import current_dataset
from bizcharts_pipeline.warehouse.scores import save_scores

NEW = range(5001, 5061)
SURE = ((0.97, 0.02, 0.01), (0.01, 0.98, 0.01), (0.02, 0.01, 0.97))
ON = ContinualSettings(pseudo_labels=True, pseudo_threshold=0.6)
PROBABILITIES = st.tuples(*[st.floats(0.01, 1)] * 3).map(lambda p: tuple(x / sum(p) for x in p))


@given(
    given=st.dictionaries(st.integers(1, 10_000), PROBABILITIES, max_size=120),
    labelled=st.lists(st.integers(0, 2), max_size=200),
    threshold=st.floats(0.51, 1),
    most=st.integers(1, 20),
    share=st.floats(0.01, 1),
)
def test_only_certain_posts_are_chosen_and_of_each_class_no_more_than_its_labels_allow(
    given: dict[int, tuple[float, float, float]], labelled: list[int], threshold: float, most: int, share: float
) -> None:
    limits = {"threshold": threshold, "most": most, "share": share, "seed": 1}
    chosen = choose(given, labelled, **limits)
    assert all(given[thread][label] >= threshold for thread, label in chosen.items())
    for label, count in Counter(chosen.values()).items():
        assert count <= min(most, share * labelled.count(label))
    assert choose(dict(reversed(given.items())), reversed(labelled), **limits) == chosen


@pytest.fixture
def scored(gated: GateWorld) -> GateWorld:
    """A trained champion, refitted on all labels, and 60 posts that it is certain of."""
    gated.train()
    gated.decide()
    labels = talk(NEW)
    gated.post({label.thread_id: label.text_snapshot or "" for label in labels})
    score(gated, {thread: SURE[thread % 3] for thread in NEW})
    return gated


def score(world: GateWorld, given: dict[int, tuple[float, float, float]], method: str = "tfidf") -> None:
    rows = [ScoredPost(thread, *p, p[2] - p[0], max(p), method) for thread, p in given.items()]
    version = world.champion().model_version
    with world.database.write() as connection:
        save_scores(connection, version, rows, [], LATER)


def found(world: GateWorld, settings: ContinualSettings = ON) -> dict[int, int]:
    return find_pseudo_labels(world.database, world.home, settings, spam_cut=0.8, seed=1)


def test_they_are_off_by_default(scored: GateWorld) -> None:
    assert found(scored, ContinualSettings()) == {}


def test_they_are_posts_that_nobody_labelled_nor_the_champion_learned_nor_copies_of_gold(scored: GateWorld) -> None:
    gold = scored.gold_set().examples[0]
    scored.post({6001: gold.post.text + " !!", 6002: "glimm drosk velp mumm"})
    score(scored, {6001: SURE[gold.label], 3: SURE[0], gold.thread_id: SURE[gold.label]})
    score(scored, {6002: SURE[0]}, method="lexicon (fallback for x)")
    before = found(scored)
    assert len(before) > 10
    assert before.keys() <= set(NEW)
    assert all(label == thread % 3 for thread, label in before.items())
    scored.label(talk(sorted(before)[:5]))
    assert not found(scored).keys() & set(sorted(before)[:5])


def test_the_version_that_saw_no_gold_has_to_agree(scored: GateWorld) -> None:
    before = found(scored)
    score(scored, {thread: SURE[(label + 1) % 3] for thread, label in before.items()})
    assert not before.keys() & found(scored).keys()


@pytest.mark.slow
def test_they_are_marked_in_the_data_set_and_its_models_and_no_labels_anywhere_else(scored: GateWorld) -> None:
    pseudo = found(scored)
    plain = scored.text_set()
    made = load_text_set(scored.database, scored.home, LATER, pseudo=pseudo)
    assert made.pseudo_labels == len(pseudo)
    assert made.classes == plain.classes
    rows = json.loads((scored.home / made.path).read_text())
    assert {row["thread_id"] for row in rows if row.get("pseudo")} == pseudo.keys()
    with scored.database.read() as connection:
        current = current_dataset(connection, "text")
    assert current
    assert current.train_rows == len(plain.examples)
    judged, _ = out_of_fold(train, made.examples, 1)
    assert sorted(judged) == [place for place, example in enumerate(made.examples) if not example.pseudo]

    version = scored.train(made).model
    content = (scored.home / str(version.path) / TRAINED_ON).read_bytes()
    counts = labels_learned_from(content)
    assert {name: counts[place] for place, name in enumerate(STANCES)} == plain.classes
    scored.label(talk(NEW))
    with scored.database.read() as connection:
        terms = Terms.of(Settings(home=scored.home))
        (text,) = retrainings(connection, scored.home, terms)
    assert text.new_labels >= len(NEW)  # those that had been pseudo-labels too


@pytest.mark.slow
def test_a_winner_that_learned_from_them_is_refitted_with_them(gated: GateWorld) -> None:
    gated.post({label.thread_id: label.text_snapshot or "" for label in talk(NEW)})
    pseudo = {thread: thread % 3 for thread in NEW}
    winner = gated.train(load_text_set(gated.database, gated.home, LATER, pseudo=pseudo)).model.model_version
    assert gated.decide()[winner].promoted
    rows = json.loads((gated.home / str(gated.champion().path) / TRAINED_ON).read_text())
    assert {row["thread_id"]: row["label"] for row in rows if row.get("pseudo")} == pseudo
    assert {row["thread_id"] for row in rows} >= gated.gold()
