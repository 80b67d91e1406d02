from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.index.votes import HOUR
from bizcharts_pipeline.text.duplicates import MEMORY, Opening, assign, normalise

WORDS = ["buy", "sell", "hold", "link", "moon", "bags", "chart", "green", "whale", "stake", "yield", "anon"]
sentence = st.lists(st.sampled_from(WORDS), min_size=6, max_size=10).map(" ".join)
COPYPASTA = "frens, the marines are loading their bags again; you have 48 hours left to make it with us"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 30), sentence, st.integers(0, 3)), min_size=1, max_size=40),
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
)
def test_clusters_do_not_depend_on_how_the_stream_is_cut(drawn, sizes):
    moment, stream = 0, []
    texts = [COPYPASTA, drawn[0][1], ""]
    for number, (hours, text, kind) in enumerate(drawn, 1):
        moment += hours * HOUR
        stream.append(Opening(number, moment, [*texts, text][kind], "md5" if number % 3 else None))
    whole = assign(stream)
    pieces: list[int] = []
    for size in sizes * len(stream):
        begin, stop = len(pieces), min(len(pieces) + size, len(stream))
        if begin == stop:
            break
        known = [Opening(o.thread_id, o.posted_at, o.text, o.image_md5, c) for o, c in zip(stream, pieces)]  # noqa: B905
        context = [o for o in known if o.posted_at >= stream[begin].posted_at - MEMORY]
        pieces += assign(context + stream[begin:stop])[len(context) :]
    assert pieces == whole


def test_copies_differ_in_links_numbers_case_and_a_word_at_most():
    variants = [
        COPYPASTA,
        COPYPASTA.upper(),
        COPYPASTA.replace("48", "24"),
        COPYPASTA + " https://example.com/a?b=1",
        COPYPASTA.replace("frens", "anons"),
        "what do you think of staking through a validator at home, is it worth it for the rewards",
        COPYPASTA[: len(COPYPASTA) // 2],
    ]
    openings = [Opening(k, k * HOUR, text, None) for k, text in enumerate(variants, 1)]
    assert assign(openings) == [1, 1, 1, 1, 1, 6, 7]
    assert normalise("See  HTTPS://X.Y/Z\n12,000") == "see ~ 0,0"


def test_a_copy_after_48_hours_founds_its_own_cluster_unless_a_chain_links_it():
    hours = [0, 48, 97, 140]
    openings = [Opening(k, at * HOUR, COPYPASTA, None) for k, at in enumerate(hours, 1)]
    assert assign(openings) == [1, 1, 3, 3]


def test_posts_without_text_are_alike_by_their_picture_only():
    pictures = ["a", "a", "b", None, None]
    openings = [Opening(k, k, " ", picture) for k, picture in enumerate(pictures, 1)]
    openings.append(Opening(6, 6, COPYPASTA, "a"))
    assert assign(openings) == [1, 1, 3, 4, 5, 6]


def test_posts_that_are_only_a_link_are_alike_by_the_link() -> None:
    texts = [
        "https://www.youtube.com/watch?v=aaaaaaaaaaa",
        "https://www.youtube.com/watch?v=bbbbbbbbbbb",
        "http://youtube.com/watch?v=aaaaaaaaaaa",
        "thoughts? https://www.youtube.com/watch?v=aaaaaaaaaaa",
        "thoughts? https://news.example/1",
        "thoughts? https://news.example/2",
    ]
    openings = [Opening(k, k, text, f"picture {k}") for k, text in enumerate(texts, 1)]
    assert assign(openings) == [1, 2, 1, 1, 5, 6]


def test_posts_with_hardly_a_letter_are_alike_by_their_picture() -> None:
    posts = [(".", "a"), (".", "b"), ("AAAA", "a"), ("AAAAAAA", "c"), ("btc", "a"), ("btc", "b")]
    openings = [Opening(k, k, text, picture) for k, (text, picture) in enumerate(posts, 1)]
    assert assign(openings) == [1, 2, 1, 4, 5, 5]
