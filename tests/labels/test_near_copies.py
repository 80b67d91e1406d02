"""A near-copy of a gold post is told by what a model is given of it, links included, however it was changed."""

from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from generals import CHANGES, General, general, words
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_world import NOW, real_labels

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups
from bizcharts_pipeline.training.leaks import Copies


def post(thread_id: int, of: General) -> Post:
    return Post(thread_id, NOW, of.subject or None, of.text, None)


def changed(of: General, rng: Random, *names: str) -> General:
    for name in names:
        of = CHANGES[name](rng, of)
    return of


@pytest.mark.parametrize("names", [(name,) for name in CHANGES] + list(combinations(CHANGES, 2)), ids=" and ".join)
def test_a_near_copy_of_a_gold_general_is_told_however_it_was_changed(names: tuple[str, ...]) -> None:
    for seed in range(3):
        rng = Random(seed)
        gold = general(rng)
        copy = changed(gold, rng, "another edition", *names)
        assert contaminated([post(2, copy)], [post(1, gold)]) == {2}
        assert contaminated([post(2, gold)], [post(1, copy)]) == {2}


@pytest.mark.parametrize("name", CHANGES)
def test_the_check_of_data_sets_tells_them_by_a_measure_of_its_own(name: str) -> None:
    for seed in range(3):
        rng = Random(seed)
        gold = general(rng)
        assert Copies(post(1, gold).texts).has(post(2, changed(gold, rng, "another edition", name)).whole_text)


SENTENCES = ("is it too late to buy bitcoin now", "Why is nobody talking about the merge and the supply shock?")
LINKS = (
    *("youtu.be/dQw4w9WgXcQ", "ftp://files.example.org/a/b", "pump.fun/coin/abcdef", "hxxps://shop.example/abc"),
    *(
        "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
        "me@mail.example",
        "superexchange.io",
        "t.me/abc",
    ),
    *("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "0x52908400098527886E0F7030069857D2E4169EE7"),
)
WRITTEN = {
    **{
        f"letters between {mark!a}": mark.join for mark in ("_", "\N{FULLWIDTH LOW LINE}", "\u30fc", "\u02cd", "\u0640")
    },
    "words between _": lambda text: text.replace(" ", "_"),
    "letters in squares": lambda text: "".join(
        chr(0x1F170 + ord(c) - ord("A")) if c.isalpha() else c for c in text.upper()
    ),
    "numbers of characters": lambda text: "".join(f"&#{ord(c)};" for c in text),
    **{f"{link} behind": lambda text, link=link: f"{text} {link}" for link in LINKS},
    **{f"{link} in front": lambda text, link=link: f"{link} {text}" for link in LINKS},
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_sentence_of_gold_is_told_behind_separators_signs_and_what_may_be_a_link(how: str) -> None:
    for sentence in SENTENCES:
        gold, copy = Post(1, NOW, None, sentence, None), Post(2, NOW, None, WRITTEN[how](sentence), None)
        assert contaminated([copy], [gold]) == {2}
        assert Copies(gold.texts).has(copy.whole_text)


@pytest.mark.slow
def test_generals_that_have_only_their_form_in_common_are_no_copies() -> None:
    posts = [post(number, general(Random(number))) for number in range(40)]
    for one in posts:
        assert contaminated(posts, [one]) == {one.thread_id}
        copies = Copies(one.texts)
        assert [other.thread_id for other in posts if copies.has(other.whole_text)] == [one.thread_id]
    assert len(set(duplicate_groups(posts).values())) == len(posts)


@settings(max_examples=150)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(sorted(CHANGES)), max_size=6),
    st.sampled_from(["general", "sentence", "line"]),
    st.floats(0, 0.08),
)
def test_what_the_check_finds_never_passes_the_selection(seed: int, names: list[str], kind: str, share: float) -> None:
    """A check that is stricter than the selection would block a data set that nobody can mend."""
    rng = Random(seed)
    of = general(rng, sections=rng.randint(1, 6))
    if kind != "general":
        of = General("", words(rng, 12 if kind == "sentence" else 2), ())
    copy = changed(of, rng, *names)
    letters = list(copy.text)
    for place in rng.sample(range(len(letters)), int(share * len(letters))):
        letters[place] = rng.choice("ab c.1")
    gold, other = post(1, of), Post(2, NOW, copy.subject or None, "".join(letters), None)
    if any(map(Copies(gold.texts).has, other.texts)):
        assert contaminated([other], [gold]) == {2}


def test_the_seven_other_editions_of_a_real_general_are_told_and_no_other_of_672_posts(shared_data: Path) -> None:
    posts = [
        Post(label.thread_id, label.posted_at, label.subject_snapshot, label.text_snapshot, None)
        for label in real_labels(shared_data)
    ]
    gold = next(post for post in posts if post.thread_id == 61066378)
    editions = {post.thread_id for post in posts if "/pmg/" in (post.subject or "").lower() and "youtu.be" in post.text}
    assert len(editions) == 8
    assert contaminated(posts, [gold]) == editions
    copies = Copies(gold.texts)
    assert {post.thread_id for post in posts if any(map(copies.has, post.texts))} == editions
    groups = duplicate_groups(posts)
    assert {thread_id for thread_id, group in groups.items() if group == groups[gold.thread_id]} == editions
