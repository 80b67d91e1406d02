"""What text models may learn from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from labelled_world import NOW, made_up
from training.gate_world import LATER, GateWorld, talk

from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.text_set import TEXT, TEXT_WITH_GOLD, NothingToLearn, load_text_set
from bizcharts_pipeline.warehouse.datasets import current_dataset


def threads(examples: tuple[TextExample, ...]) -> set[int]:
    return {example.thread_id for example in examples}


def test_gold_and_its_near_duplicates_never_train_but_in_the_refit(gated: GateWorld) -> None:
    gold = gated.gold_set().examples[0]
    (label,) = talk([5001])
    gated.label([replace(label, text_snapshot=gold.post.text + " !!")])
    learned = gated.text_set()
    assert gated.gold().isdisjoint(threads(learned.examples))
    assert 5001 not in threads(learned.examples)
    assert learned.left_out == {"gold": 51, "near-duplicate of a gold post": 1}
    everything = gated.text_set(with_gold=True)
    assert threads(everything.examples) == threads(learned.examples) | gated.gold() | {5001}
    with gated.database.read() as connection:
        names = [current_dataset(connection, kind) for kind in (TEXT, TEXT_WITH_GOLD)]
    assert [found and found.dataset_version for found in names] == [learned.dataset_version, everything.dataset_version]


def test_people_and_trusted_models_are_learned_from_without_pictures(gated: GateWorld) -> None:
    gated.post({6001: "a text that a trusted model has labelled", 6002: "and one that another model has labelled"})
    gated.label_by_models({6001: "bullish"}, "good")
    gated.label_by_models({6002: "bullish"}, "bad", trusted=False)
    gated.label([replace(label, text_snapshot=None, image_url_snapshot="u") for label in talk([6003])])
    learned = gated.text_set()
    labels = {example.thread_id: example.label for example in learned.examples}
    assert labels[6001] == 2
    assert labels.keys().isdisjoint({6002, 6003})
    assert learned.left_out["labelled by untrusted models only"] == 1
    assert learned.left_out["without text"] == 1


def test_the_same_posts_are_the_same_version_and_the_file_holds_no_text(gated: GateWorld) -> None:
    one, other = gated.text_set(), gated.text_set()
    assert one == other
    content = (gated.home / one.path).read_text()
    assert one.dataset_version in one.path
    assert {frozenset(row) for row in json.loads(content)} == {frozenset({"thread_id", "label", "text_sha256"})}
    gated.label(talk([3001]))
    assert gated.text_set().dataset_version != one.dataset_version


def test_near_duplicates_share_a_group(gated: GateWorld) -> None:
    texts = {label.thread_id: label.text_snapshot or "" for label in talk([4001])}
    copies = [
        replace(label, text_snapshot=texts[4001] + end)
        for label, end in zip(talk([4001, 4002]), ("", " ?"), strict=True)
    ]
    gated.label(copies)
    groups = {example.thread_id: example.group for example in gated.text_set().examples}
    assert groups[4001] == groups[4002]
    assert len(set(groups.values())) == len(groups) - 1


def test_where_nothing_is_labelled_there_is_nothing_to_learn(tmp_path: Path) -> None:
    world = GateWorld(tmp_path / "home")
    with pytest.raises(NothingToLearn, match="nothing is labelled"):
        load_text_set(world.database, world.home, LATER)


def test_gold_is_what_most_people_said_unless_they_were_shown_a_suggestion(gated: GateWorld) -> None:
    before = gated.gold_set()
    thread = before.examples[0].thread_id
    other = (before.truth[thread] + 1) % 3 + 1
    shown = [replace(label, labeler_id=name, sentiment_rating=other, suggestion="bullish")
             for name in ("bob", "cid") for label in made_up([thread])]  # fmt: skip
    gated.label(shown)
    assert gated.gold_set().gold_version == before.gold_version
    gated.label([replace(label, suggestion=None, labeled_at=NOW.replace(hour=9)) for label in shown])
    after = gated.gold_set()
    assert after.truth[thread] == other - 1
    assert after.gold_version != before.gold_version
    gated.label([replace(label, labeler_id="dan", flag="illegal") for label in made_up([thread])])
    assert thread not in gated.gold_set().truth
    assert gated.gold_set().without_label == 1
