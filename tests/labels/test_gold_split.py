"""The gold split: its size and shares, that it is frozen, and that nothing alike to it is ever taken for another."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_world import NOW, LabelledWorld, grams, jaccard, made_up, real_labels, whole_text

from bizcharts_pipeline.labels.corpus import Picture, Post
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.text.duplicates import SIMILAR


@pytest.fixture
def world(tmp_path: Path) -> LabelledWorld:
    return LabelledWorld(tmp_path / "home")


def test_of_672_real_labels_150_are_gold_by_whole_groups_and_in_proportion(
    world: LabelledWorld, shared_data: Path
) -> None:
    labels = real_labels(shared_data)
    world.label(labels)
    report = world.draw()
    assert (report.drawn, report.gold, report.labelled) == (150, 150, 672)
    assert [(p.period, p.labelled, p.share, p.gold) for p in report.periods] == [
        ("2025-10", 255, 57, 57),
        ("2025-12", 417, 93, 93),
    ]
    texts = {label.thread_id: grams(whole_text(label)) for label in labels}
    gold = world.gold()
    torn = [
        (one, other) for one in gold for other in texts.keys() - gold if jaccard(texts[one], texts[other]) >= SIMILAR
    ]
    assert torn == []


@pytest.mark.slow
def test_the_draw_depends_on_the_seed_and_not_on_order_and_a_second_draws_nothing(
    tmp_path: Path, shared_data: Path
) -> None:
    labels = real_labels(shared_data)
    worlds = [LabelledWorld(tmp_path / name) for name in "abc"]
    for number, (world, seed) in enumerate(zip(worlds, (7, 7, 8), strict=True)):
        world.label(Random(number).sample(labels, len(labels)))
        world.draw(gold_seed=seed)
    first, shuffled, reseeded = (world.gold() for world in worlds)
    assert first == shuffled
    assert len(first & reseeded) < 75
    assert worlds[0].draw(gold_seed=7).drawn == 0
    assert worlds[0].draw(gold_seed=8, gold_posts=20).drawn == 0
    assert worlds[0].gold() == first


def test_it_grows_with_the_labels_never_beyond_a_quarter_and_keeps_what_it_has(world: LabelledWorld) -> None:
    world.label(made_up(range(39)))
    assert world.draw().gold == 0
    earlier: set[int] = set()
    for start in (39, 100, 300, 500):
        world.label(made_up(range(start, start + 100)))
        report = world.draw()
        assert report.gold == min(150, report.labelled // 4)
        assert earlier <= world.gold()
        earlier = world.gold()


def test_a_new_month_gets_its_share_on_top(world: LabelledWorld) -> None:
    world.label(made_up(range(600), month=1))
    assert world.draw().gold == 150
    frozen = world.gold()
    world.label(made_up(range(600, 1200), month=2) + made_up(range(1200, 1204), month=3))
    report = world.draw()
    assert frozen <= world.gold()
    assert {p.period: p.gold for p in report.periods} == {"2025-01": 150, "2025-02": 75, "2025-03": 1}


def test_only_what_people_rated_and_no_model_chose_is_drawn(world: LabelledWorld) -> None:
    skipped = made_up(range(1000, 1100), sentiment_rating=None, skipped=True)
    illegal = made_up(range(2000, 2100), flag="illegal")
    chosen = made_up(range(3000, 3100), stratum="uncertain")
    redone = [replace(label, stratum="relabel", labeled_at=NOW + timedelta(days=9)) for label in chosen]
    taken_back = made_up(range(4000, 4010), labeler_id="bob")
    suggested = made_up(range(5000, 5100), suggestion="bullish")
    world.label([*made_up(range(100), stratum="random"), *skipped, *illegal, *chosen, *redone, *suggested, *taken_back])
    for _ in taken_back:
        world.ledger.undo("bob", NOW)
    assert world.draw().labelled == 100
    assert world.gold() <= set(range(100))


def test_no_month_gives_more_than_a_quarter_of_its_labels(world: LabelledWorld) -> None:
    months = [label for m in range(1, 12) for label in made_up(range(100 * m, 100 * m + 7), month=m)]
    torn = [  # copies of posts of the month before, by twos
        replace(
            label, thread_id=label.thread_id + 5000, posted_at=label.posted_at and label.posted_at.replace(month=12)
        )
        for label in months[::7]
    ]
    world.label([*months, *torn])
    report = world.draw()
    assert report.gold > 5
    assert all(period.gold <= period.labelled / 4 for period in report.periods)


def test_posts_of_unknown_content_are_never_drawn(world: LabelledWorld) -> None:
    labels = made_up(range(100))
    blank = {"subject_snapshot": None, "text_snapshot": None, "image_url_snapshot": None}
    world.label([*labels, *(replace(label, thread_id=label.thread_id + 10_000, **blank) for label in labels)])
    assert world.draw().gold == 25
    assert max(world.gold()) < 10_000


def test_copies_of_gold_that_are_labelled_later_are_never_drawn(world: LabelledWorld) -> None:
    labels = made_up(range(100))
    world.label(labels)
    world.draw()
    gold = world.gold()
    copies = [
        replace(label, thread_id=label.thread_id + 10_000, text_snapshot=f"{label.text_snapshot} 123")
        for label in labels
        if label.thread_id in gold
    ]
    world.label([*copies, *made_up(range(100, 300))])
    assert world.draw().gold == (100 + len(copies) + 200) // 4
    assert world.gold().isdisjoint(label.thread_id for label in copies)


def test_one_text_posted_again_and_again_does_not_become_the_test(world: LabelledWorld) -> None:
    generals = [
        replace(label, text_snapshot=f"Welcome to the {'abcdefgh'[n % 8] * 20} general, read the rules before posting")
        for n, label in enumerate(made_up(range(1000, 1160)))
    ]
    world.label([*made_up(range(200)), *generals])
    assert world.draw().gold == 90
    assert world.gold() <= set(range(200))


def post(thread_id: int, text: str = "", **picture: str) -> Post:
    known: dict[str, str | None] = dict.fromkeys(("url", "md5", "status", "path", "sha256", "perceptual_hash"))
    return Post(thread_id, NOW, None, text, Picture(**(known | picture), nsfw=None) if picture else None)


def test_likeness_is_by_text_and_by_each_name_of_the_picture() -> None:
    text = "selling everything tomorrow, this market is finished and so am I"
    gold = [
        post(1, text, url="https://x/1.jpg", md5="m", sha256="s", perceptual_hash="00000000ffffffff"),
        post(2),
    ]
    others = [
        post(11, text.upper() + " 5"),
        post(12, "another", url="https://x/1.jpg"),
        post(13, "a third", md5="m"),
        post(14, "a fourth", sha256="s"),
        post(15, "a fifth", perceptual_hash="00000000fffffff0"),
        post(21, "a sixth", perceptual_hash="00000000ffffffe0"),
        post(22, ""),
        post(23, "", url="https://x/2.jpg", md5="n", sha256="t"),
        post(24, text[: len(text) // 2]),
    ]
    alike = {11, 12, 13, 14, 15}
    assert contaminated(others, gold) == alike
    assert contaminated([*others, *gold], gold) == alike | {1, 2}
    groups = duplicate_groups([*reversed(others), *gold])
    assert {thread for thread, founder in groups.items() if founder == 1} == alike | {1, 21}  # 21 by way of 15
    assert all(groups[thread] == thread for thread in (2, 22, 23, 24))


def test_a_copy_is_told_without_its_subject_and_whatever_invisible_is_put_in() -> None:
    text = "the last one out of this market turns off the lights, i am selling"
    gold = [replace(post(1, text), subject="It is over, and this time I am serious about it")]
    others = [
        post(11, text),
        replace(post(12, text), subject="hello"),
        replace(gold[0], thread_id=13, text="\u200b".join(text)),
        post(14, text.replace(" ", " \u200b\u2060")),
        post(15, "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)),
        replace(post(21, "gm"), subject="hello"),
        replace(post(22, "gm"), subject="something else entirely"),
    ]
    alike = {11, 12, 13, 14, 15}
    assert contaminated(others, gold) == alike
    groups = duplicate_groups([*others, *gold])
    assert {thread for thread, founder in groups.items() if founder == 1} == alike | {1}
    assert groups[21] != groups[22]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 63), max_size=6)), max_size=12))
def test_pictures_within_four_bits_are_found_wherever_the_bits_lie(seeds: list[tuple[int, list[int]]]) -> None:
    hashes = [value for seed, bits in seeds for value in (seed, seed ^ sum(1 << bit for bit in set(bits)))]
    posts = [post(n, perceptual_hash=f"{value:016x}") for n, value in enumerate(hashes)]
    near = {(a, b) for a in range(len(hashes)) for b in range(a) if (hashes[a] ^ hashes[b]).bit_count() <= 4}
    groups = duplicate_groups(posts)
    assert all(groups[a] == groups[b] for a, b in near)
    assert len(set(groups.values())) == _components(len(hashes), near)
    for number in range(len(posts)):
        expected = {number} | {a + b - number for a, b in near if number in (a, b)}
        assert contaminated(posts, [posts[number]]) == expected


def _components(size: int, links: set[tuple[int, int]]) -> int:
    names = list(range(size))
    for a, b in links:
        names = [names[b] if name == names[a] else name for name in names]
    return len(Counter(names))
