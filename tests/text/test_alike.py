"""Likeness whatever lies between two texts, against its definition."""

from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from labelled_world import grams, jaccard

from bizcharts_pipeline.text.duplicates import LONG, MAX_GROWTH, SIMILAR, alike, normalise, resembles

WORDS = "bitcoin zero moon link holders cope sell everything now never buy high rope pump dump whale"


def texts_with_copies(seed: int, size: int) -> list[str]:
    """Texts of which about half are an earlier one with a word or two changed, or a little cut off."""
    rng = Random(seed)
    texts: list[str] = []
    while len(texts) < size:
        if texts and rng.random() < 0.5:
            words = rng.choice(texts).split()
            for _ in range(rng.randint(0, 3)):
                words[rng.randrange(len(words))] = rng.choice(WORDS.split())
            texts.append(" ".join(words[: rng.randint(max(1, len(words) - 3), len(words))]))
        else:
            texts.append(" ".join(rng.choices(WORDS.split(), k=rng.randint(1, 60))))
    return texts


@given(st.integers(0, 2**32))
def test_resembling_is_exactly_a_jaccard_similarity_of_0_8_or_most_of_a_long_text(seed: int) -> None:
    texts = list(map(normalise, texts_with_copies(seed, 25)))
    originals, others = texts[:10], ["", *texts[10:]]
    expected = [any(similar(grams(a), grams(b)) for b in originals) for a in others]
    assert resembles(others, originals) == expected
    assert resembles(others, [""]) == [False] * len(others)


def similar(one: frozenset[str], other: frozenset[str]) -> bool:
    shorter, longer = sorted((len(one), len(other)))
    held = shorter >= LONG and longer <= MAX_GROWTH * shorter and len(one & other) >= SIMILAR * shorter
    return held or jaccard(one, other) >= SIMILAR


def test_a_long_text_is_found_within_another_of_up_to_four_times_its_size() -> None:
    words = ["".join(letters) for letters in product("abcdef", repeat=4)]
    text, more = " ".join(words[:60]), " ".join(words[400:])
    assert resembles([f"{text} {more[: 2 * len(text)]}", f"{text} {more[: 5 * len(text)]}"], [text]) == [True, False]
    assert resembles([text[: len(text) // 2]], [text]) == [True]
    assert resembles([text[: LONG // 2]], [text]) == [False]


def test_groups_are_the_chains_of_alike_texts() -> None:
    texts = [*texts_with_copies(1, 400), "", " ", "", "https://a.b/c", "HTTPS://x.y"]
    groups = alike(list(map(normalise, texts)))
    known = [grams(text) for text in texts]
    names = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            if jaccard(known[one], known[other]) >= SIMILAR:
                old, new = names[one], names[other]
                names = [new if name == old else name for name in names]
    least = {name: names.index(name) for name in set(names)}
    assert [groups.of(place) for place in range(len(texts))] == [least[name] for name in names]


def test_a_flood_of_copies_is_no_longer_work_than_as_many_different_texts() -> None:
    flood = [
        f"buy this coin now before it is too late, number {'x' * (n % 7)} {chr(97 + n % 26)}" for n in range(20_000)
    ]
    groups = alike(flood)
    assert {groups.of(place) for place in range(len(flood))} == {0}
